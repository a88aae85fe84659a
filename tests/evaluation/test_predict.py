import copy

import pytest
import torch

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.evaluation.predict import Text, answer
from modelzoo_mediswift.model.generate import greedy, read_prefix
from modelzoo_mediswift.model.gpt3 import GPT3, Initializer
from modelzoo_mediswift.tasks.base import Example
from modelzoo_mediswift.tasks.hoc import HocDocuments
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

TARGET = ["the", "answer", "to", "question", "given", "context", "is", "yes.", "no.", "maybe."]
WORDS = [*TARGET, "a", "b", "c"]
EOS = 0
TEXT = Text(
    lambda text: [1 + WORDS.index(w) for w in text.split() if w in WORDS],
    lambda ids: " ".join(WORDS[i - 1] for i in ids if 0 < i <= len(WORDS)),
    EOS,
)


@pytest.fixture(scope="module")
def model() -> GPT3:
    return GPT3(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=4,
        filter_size=64,
        max_position_embeddings=24,
        num_virtual_tokens=2,
        initializer=Initializer(0.3),
        embedding_initializer=Initializer(0.5),
    ).eval()


def example(name: str, source: str) -> Example:
    return Example(name, source, "", "yes")


def test_likelihood_is_of_the_whole_target_after_source_and_prompt(model):
    task = PubMedQA()
    examples = [example("1", "a b c a"), example("2", "b"), example("3", "c c")]
    answers = {a.id: a for a in answer(model, task, examples, TEXT, batch_size=2)}
    for one in examples:
        for label in task.labels:
            target = [*TEXT.encode(task.target_text(label)), EOS]
            before = [EOS, *TEXT.encode(one.source), 32, 33]
            log_p = torch.log_softmax(model(torch.tensor([before + target])), -1)[0]
            by_hand = sum(log_p[len(before) - 1 + i, t] for i, t in enumerate(target))
            assert answers[one.id].log_likelihoods[label] == pytest.approx(by_hand.item(), abs=1e-3)
        best = max(answers[one.id].log_likelihoods, key=answers[one.id].log_likelihoods.get)
        assert answers[one.id].most_likely == best


def test_answers_do_not_depend_on_the_batch(model):
    examples = [
        example(str(i), " ".join("abc"[(i + j) % 3] for j in range(i))) for i in range(1, 8)
    ]
    alone, together = (
        {a.id: a for a in answer(model, PubMedQA(), examples, TEXT, batch_size=size)}
        for size in (1, 7)
    )
    for name, one in alone.items():
        assert one.generated == together[name].generated
        assert one.log_likelihoods == pytest.approx(together[name].log_likelihoods, abs=1e-4)


def test_long_sources_are_cut_so_that_every_label_fits(model):
    answers = list(answer(model, PubMedQA(), [example("1", "a b c " * 50)], TEXT))
    assert set(answers[0].log_likelihoods) == {"yes", "no", "maybe"}


def test_a_model_that_learnt_the_target_is_parsed():
    task = PubMedQA()
    model = GPT3(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=1,
        num_heads=4,
        filter_size=64,
        max_position_embeddings=24,
        num_virtual_tokens=2,
    )
    ids = torch.tensor([[EOS, *TEXT.encode("a b"), 32, 33, *TEXT.encode(task.target_text("no"))]])
    labels = torch.cat((ids[:, 1:], torch.tensor([[EOS]])), 1).clamp(max=31)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(ids)[0, 4:], labels[0, 4:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Of the first, "no" is the greedy answer already on reading the labels; not of the others.
    examples = [example("1", "a b"), example("2", "c " * 8), example("3", "a c c")]
    for found in answer(model, task, examples, TEXT):
        one = next(e for e in examples if e.id == found.id)
        prefix = read_prefix(model, [[EOS, *TEXT.encode(one.source), 32, 33]])
        assert found.generated == TEXT.decode(greedy(model, prefix, 11, EOS)[0])
        if found.id == "1":
            assert (found.parsed, found.most_likely) == ("no", "no")


def test_several_labels_are_generated_and_have_no_likelihoods(model):
    task = HocDocuments()
    found = list(answer(model, task, [example("1", "a b " * 30)], TEXT, beams=2))
    assert found[0].log_likelihoods == {}
    assert found[0].most_likely is None
    # "the", "to" ... of the longest target and the closing token stay free.
    room = len(TEXT.encode(task.longest_target()))
    assert found[0].tokens_cut == 60 - (24 - 1 - 2 - room)


def test_a_multi_label_answer_is_always_one_of_the_task(model: GPT3) -> None:
    # The vocabulary of this test knows only some of the words; labels become what it can say.
    class TwoLabels(HocDocuments):
        def answers(self) -> tuple[str, ...]:
            return ("yes", "no", "yes|no")

        def target_text(self, label: str) -> str:
            return "the answer is " + " ".join(f"{name}." for name in label.split("|"))

        def longest_target(self) -> str:
            return self.target_text("yes|no")

    examples = [example(str(i), "a b c " * i) for i in range(5)]
    answers = list(answer(model, TwoLabels(), examples, TEXT, batch_size=3))
    assert {a.constrained for a in answers} <= {"yes", "no", "yes|no"}
    assert all(a.log_likelihoods == {} for a in answers)
    assert all(a.parsed is None for a in answers)  # a random model says nothing that is read


def test_a_prompt_before_the_source(model: GPT3) -> None:
    one = example("1", "a b c a")
    (found,) = answer(model, PubMedQA(), [one], TEXT, prompt_position="before")
    target = [*TEXT.encode(PubMedQA().target_text("no")), EOS]
    before = [EOS, 32, 33, *TEXT.encode(one.source)]
    log_p = torch.log_softmax(model(torch.tensor([before + target])), -1)[0]
    by_hand = sum(log_p[len(before) - 1 + i, t].item() for i, t in enumerate(target))
    assert found.log_likelihoods["no"] == pytest.approx(by_hand, abs=1e-3)


def test_a_model_with_damaged_weights_is_refused(model):
    damaged = copy.deepcopy(model)
    torch.nn.init.constant_(damaged.model.ln_f.bias, float("nan"))
    with pytest.raises(UserError, match="likelihoods are not numbers"):
        list(answer(damaged, PubMedQA(), [example("1", "a b")], TEXT))
