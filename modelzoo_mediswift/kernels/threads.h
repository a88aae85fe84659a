/* Work cut into items, done by several threads. */
#ifndef THREADS_H
#define THREADS_H

#include <stdint.h>

/* work(what, item) for every item below `count`. Which thread has which item is left to chance: no
 * result may depend on it. */
void run_items(int threads, int64_t count, void (*work)(void *what, int64_t item), void *what);

#endif
