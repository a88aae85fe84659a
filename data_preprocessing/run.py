"""The `run` stage: all stages of one configuration, each done once, from wherever it stopped.

`OUT`/run.json says for each stage what it was made from: its settings and the SHA-256 of its
inputs. A stage made from the same is left alone; one that was begun is continued; one made from
something else is removed and made again, and so is everything after it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_preprocessing.dask_cluster import dask_cluster
from data_preprocessing.executor import Executor
from data_preprocessing.jats_rules import JatsOptions
from data_preprocessing.only_one import only_one
from data_preprocessing.pmid_lists import pmid_file, read_pmids
from data_preprocessing.records import replacing
from data_preprocessing.run_checks import refuse_what_cannot_end
from data_preprocessing.run_config import Fetch, FetchPmc, RunConfig
from modelzoo_mediswift.config.section import Section
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import file_sha256

STATE = "run.json"
Show = Callable[[str, dict[str, Any]], None]


def run_stages(config: RunConfig, show: Show) -> Path:
    """Run what is not done yet; returns the folder. `show` is told each stage and its counts.

    Raises:
        UserError: a stage failed, a file or package for a later one is missing, or another run is
            at work in the folder.
    """
    refuse_what_cannot_end(config)
    out = Path(config.out)
    with only_one(out), ExitStack() as stack:
        executor: Executor | None = None
        if config.executor is not None:
            cluster = config.executor.dask
            jobs = None if cluster.jobqueue is None else cluster.jobqueue.model_dump()
            executor = stack.enter_context(
                dask_cluster(scheduler=cluster.scheduler, workers=cluster.workers, jobqueue=jobs)
            )
        Stages(config, out, show, executor).all()
    return out


class Stages:
    """The stages of a configuration, each a method; `run_plan` only looks at what they would do."""

    def __init__(self, config: RunConfig, out: Path, show: Show, executor: Executor | None) -> None:
        self.config = config
        self.executor = executor
        self.out = out
        self.show = show
        self.state_file = out / STATE
        self.state: dict[str, Any] = {}
        if self.state_file.exists():
            try:
                found = json.loads(self.state_file.read_text(encoding="utf-8"))
                self.state = {name: dict(entry) for name, entry in dict(found).items()}
            except (ValueError, TypeError):
                raise UserError(f"{self.state_file}: damaged; remove {out} to start over") from None
        given = config.tokenizer.path
        self.tokenizer_file = Path(given) if given else out / "tokenizer" / "tokenizer.json"

    def all(self) -> None:
        """Every stage that is not done, in order."""
        self.inputs()
        self.merge()
        self.tokenizer()
        self.pack()
        self.finetune()
        self.card()

    # -- stages ----------------------------------------------------------------------------------

    def inputs(self) -> None:
        """sample, fetch, fetch_pmc and parse; all but the first know themselves what is done."""
        inputs = [Path(path) for path in self.config.parse.inputs]
        if (sample := self.config.sample) is not None:
            folder = self.out / "sample"

            def write() -> dict[str, Any]:
                from data_preprocessing.sample import write_sample

                counts: Any = write_sample(folder, seed=sample.seed, scale=sample.scale)["counts"]
                return dict(counts)

            self.stage("sample", sample, [], folder, write)
            inputs += [folder / "pubmed", folder / "pmc"]
        if (fetch := self.config.fetch) is not None:
            inputs.append(self.fetch(fetch))
        if (fetch_pmc := self.config.fetch_pmc) is not None:
            inputs += self.fetch_pmc(fetch_pmc)
        section = self.config.parse
        self.parse(inputs, JatsOptions(section.captions, section.table_text, section.sub_articles))

    def parse(self, inputs: list[Path], jats: JatsOptions) -> None:
        """Files and folders to `parsed`; what was parsed before is left."""
        from data_preprocessing.parse import parse_files

        parsed = self.out / "parsed"
        with only_one(parsed):
            workers = self.config.parse.workers
            counts = parse_files(inputs, parsed, workers, self.executor, jats)
        self.show("parse", counts)

    def fetch(self, fetch: Fetch) -> Path:
        """Bring the files; returns their folder."""
        from data_preprocessing.fetch import fetch_files

        folder = self.out / "fetched"
        report = fetch_files(folder, **_settings(fetch))
        _check_none_failed({k: v for told in report.values() for k, v in told["failed"].items()})
        counts = ("new", "changed", "gone")
        self.show(
            "fetch",
            {
                name: {key: len(told[key]) for key in counts} | {"unchanged": told["unchanged"]}
                for name, told in report.items()
            },
        )
        return folder

    def fetch_pmc(self, section: FetchPmc) -> list[Path]:
        """Bring the articles; returns the packages."""
        from data_preprocessing.fetch_pmc import fetch_pmc

        report = fetch_pmc(self.out / "fetched_pmc", **_settings(section))
        _check_none_failed(report["failed"])
        files: list[Path] = report.pop("files")
        self.show("fetch_pmc", report | {"gone": len(report["gone"]), "failed": 0})
        return files

    def merge(self) -> None:
        from data_preprocessing.merge import merge_records
        from data_preprocessing.merge_texts import TextRules

        settings = _settings(self.config.merge)
        exclude = [pmid_file(name) for name in settings.pop("exclude_pmids")]
        against = tuple(Path(path) for path in settings.pop("decontaminate"))
        rules = TextRules(
            duplicates=settings.pop("duplicates"),
            near_duplicates=settings.pop("near_duplicates"),
            decontaminate=against,
            ngram=settings.pop("ngram"),
        )
        parsed, merged = self.out / "parsed", self.out / "merged"

        def merge() -> dict[str, Any]:
            excluded = set().union(*map(read_pmids, exclude))
            return merge_records(
                parsed,
                merged,
                exclude_pmids=excluded or None,
                text_rules=rules,
                executor=self.executor,
                **settings,
            )

        self.stage(
            "merge", self.config.merge, [parsed / "counts.json", *exclude, *against], merged, merge
        )

    def tokenizer(self) -> None:
        settings = _settings(self.config.tokenizer)
        if settings.pop("path") is not None:
            return
        from data_preprocessing.bpe import train_tokenizer_from_parquet

        merged, out = self.out / "merged", self.tokenizer_file

        def train() -> dict[str, Any]:
            return dict(train_tokenizer_from_parquet(merged, out, **settings))

        inputs = [merged / "train.parquet"]
        self.stage("tokenizer", self.config.tokenizer, inputs, out.parent, train)

    def pack(self) -> None:
        from data_preprocessing.pack import pack_corpus

        merged, packed = self.out / "merged", self.out / "packed"
        inputs = [merged / "train.parquet", merged / "validation.parquet", self.tokenizer_file]
        settings = _settings(self.config.pack)

        def pack() -> dict[str, Any]:
            return _of_splits(
                pack_corpus(merged, self.tokenizer_file, packed, executor=self.executor, **settings)
            )

        self.stage("pack", self.config.pack, inputs, packed, pack, resumes=True)

    def finetune(self) -> None:
        from data_preprocessing.finetune import finetune_task

        for section in self.config.finetune:
            settings = _settings(section)
            task, path = settings.pop("task"), Path(settings.pop("input"))
            folder = self.out / "finetune" / section.folder
            inputs = sorted(path.rglob("*")) if path.is_dir() else [path]
            inputs = [file for file in inputs if file.is_file()] + [self.tokenizer_file]
            if (labels := settings.pop("labels_file")) is not None:
                settings["labels_file"] = Path(labels)
                inputs.append(Path(labels))

            def write() -> dict[str, Any]:
                return _of_splits(
                    finetune_task(task, path, self.tokenizer_file, folder, **settings)  # noqa: B023
                )

            self.stage(f"finetune {section.folder}", section, inputs, folder, write, resumes=True)

    def card(self) -> None:
        from data_preprocessing.card import write_card

        merged, packed, parsed = self.out / "merged", self.out / "packed", self.out / "parsed"
        inputs = [merged / "counts.json", parsed / "counts.json"]
        inputs += sorted(packed.glob("*/data_params.json"))
        folder = self.out / "card"

        def write() -> dict[str, Any]:
            return write_card(merged, folder, parsed_dir=parsed, packed_dir=packed)

        self.stage("card", self.config.merge, inputs, folder, write)

    # -- what is done ----------------------------------------------------------------------------

    def stage(
        self,
        name: str,
        section: Section,
        inputs: list[Path],
        folder: Path,
        make: Callable[[], dict[str, Any]],
        *,
        resumes: bool = False,
    ) -> None:
        """Make `folder` from `inputs`, unless that was done.

        What an interrupted stage left is removed, unless it `resumes` by itself.
        """
        made_from = made_of(section, inputs)
        known = self.state.get(name, {})
        if known.get("made_from") == made_from and known.get("files") == sizes(folder):
            self.show(f"{name} (done before)", known["counts"])
            return
        with only_one(folder):
            if known.get("made_from") != made_from:
                if not known and sizes(folder):
                    raise UserError(
                        f"{folder}: was not made by `run`; remove it or choose another `out`"
                    )
                _empty(folder)
            elif "files" in known or not resumes:  # changed since, or unfinished
                _empty(folder)
            self._note(name, {"made_from": made_from})
            counts = make()
            entry = {"made_from": made_from, "files": sizes(folder), "counts": counts}
            self._note(name, entry)
        self.show(name, counts)

    def _note(self, name: str, entry: dict[str, Any]) -> None:
        self.state[name] = entry
        with replacing(self.state_file) as temporary:
            temporary.write_text(json.dumps(self.state, indent=1) + "\n", encoding="utf-8")


def made_of(section: Section, inputs: list[Path]) -> dict[str, Any]:
    """What decides whether a stage's output is up to date. Raises UserError if an input is not."""
    return {
        "version": version("modelzoo-mediswift"),
        "settings": json.loads(section.model_dump_json(exclude={"workers"})),
        "inputs": {str(path): file_sha256(path) for path in inputs},
    }


def _check_none_failed(failed: dict[str, str]) -> None:
    if failed:
        raise UserError(
            f"{len(failed)} files could not be fetched, the first: "
            f"{next(iter(failed.values()))}; run it again"
        )


def _settings(section: Section) -> dict[str, Any]:
    return {name: getattr(section, name) for name in type(section).model_fields}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in inside):
            yield path


def sizes(folder: Path) -> dict[str, int]:
    """Each file below a folder, hidden ones apart, and its bytes; {} if there is no folder."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)}


def _empty(folder: Path) -> None:
    """Remove all but the lock."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _of_splits(splits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        split: {
            "sequences": params["n_examples"],
            "tokens": params["n_tokens"],
            "tokens in the loss": params["n_loss_tokens"],
            **params["counts"],
        }
        for split, params in splits.items()
    }
