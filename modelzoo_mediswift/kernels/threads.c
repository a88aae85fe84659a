/* Threads are those of the OpenMP library that PyTorch has loaded, so that its threads and ours are
 * never two sets that wait for the same cores; elsewhere they are started.
 */
#define _GNU_SOURCE
#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

enum { MOST_THREADS = 256 };

typedef struct {
    void (*work)(void *what, int64_t item);
    void *what;
    int64_t count, next;
} queue;

static void take_items(void *argument)
{
    queue *items = argument;
    int64_t item;
    while ((item = __atomic_fetch_add(&items->next, 1, __ATOMIC_RELAXED)) < items->count)
        items->work(items->what, item);
}

static void *take_items_in_thread(void *argument)
{
    take_items(argument);
    return NULL;
}

void run_items(int threads, int64_t count, void (*work)(void *, int64_t), void *what)
{
    static void (*gomp_parallel)(void (*)(void *), void *, unsigned, unsigned);
    queue items = {work, what, count, 0};
    if (threads > count)
        threads = (int)count;
    if (threads > MOST_THREADS)
        threads = MOST_THREADS;
    if (threads <= 1) {
        take_items(&items);
        return;
    }
    if (!gomp_parallel)
        *(void **)&gomp_parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    if (gomp_parallel) {
        gomp_parallel(take_items, &items, (unsigned)threads, 0);
        return;
    }
    pthread_t started[MOST_THREADS];
    int n = 0;
    while (n < threads - 1 && !pthread_create(&started[n], NULL, take_items_in_thread, &items))
        n++;
    take_items(&items);
    while (n > 0)
        pthread_join(started[--n], NULL);
}
