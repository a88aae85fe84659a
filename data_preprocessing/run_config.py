"""The configuration of `run`: one section per stage, strict, with the stages' own defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from data_preprocessing.dask_cluster import BATCH_SYSTEMS
from data_preprocessing.file_sets import FILE_SETS, GROUPS, NLM, PMC_BUCKET, PUBMED
from modelzoo_mediswift.config.section import (
    ListOnly,
    NonNegativeFloat,
    NonNegativeInt,
    PathText,
    PositiveInt,
    Probability,
    Section,
    Seed,
    Text,
    describe,
    expected,
    printable,
    problem,
    unknown,
)
from modelzoo_mediswift.config.yaml_file import YamlDocument, load_yaml
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.registry import make_task


def _known_set(name: str) -> str:
    if name not in FILE_SETS:
        raise problem(unknown("set of files", name, list(FILE_SETS)))
    return name


def _known_group(name: str) -> str:
    if name not in GROUPS:
        raise problem(unknown("licence group", name, list(GROUPS)))
    return name


def _known_system(name: str) -> str:
    if name not in BATCH_SYSTEMS:
        raise problem(unknown("batch system", name, list(BATCH_SYSTEMS)))
    return name


LicenceGroup = Annotated[str, AfterValidator(_known_group)]
FileSetName = Annotated[str, AfterValidator(_known_set)]
Flag = Annotated[bool, expected("true or false")]


class Sample(Section):
    """Generate the sample corpus."""

    seed: Seed = 0
    scale: Annotated[float, Field(ge=0.03, le=20), expected("a number in [0.03, 20]")] = 1.0


class Fetch(Section):
    """Bring PubMed's files here (and PMC's packages of old, from where they are)."""

    sets: Annotated[tuple[FileSetName, ...], ListOnly] = PUBMED
    base_url: Text = NLM
    """A URL or a folder."""
    newest: PositiveInt | None = None
    """Only the last so many files of each set."""
    connections: PositiveInt = 3
    interval: NonNegativeFloat = 0.34
    """Seconds between two requests."""
    prune: Flag = False


class FetchPmc(Section):
    """Bring PMC's articles here, in packages."""

    groups: Annotated[tuple[LicenceGroup, ...], ListOnly] = GROUPS
    base_url: Text = PMC_BUCKET
    """The bucket or a copy of it: a URL or a folder."""
    packages: PositiveInt | None = None
    """Only the first so many."""
    start: NonNegativeInt = 0
    """Begin with the package of this PMCID."""
    historical_ocr: Flag = False
    """Texts of scanned articles too."""
    connections: PositiveInt = 16
    interval: NonNegativeFloat = 0.0
    """Seconds between two requests."""
    max_failed: NonNegativeInt = 100
    """Articles that may fail before the stage gives up."""
    prune: Flag = False


class Parse(Section):
    """XML to records."""

    inputs: Annotated[tuple[PathText, ...], ListOnly] = ()
    """Files and folders besides what `sample`, `fetch` and `fetch_pmc` made."""
    captions: Flag = False
    """Of figures and tables; this and the next two are about full texts."""
    table_text: Flag = False
    sub_articles: Flag = False
    """Decision letters, responses; never translations."""
    workers: PositiveInt = 1


class Merge(Section):
    """One document per article, filtered, divided."""

    validation_share: Probability = 0.03
    seed: Seed = 0
    exclude_pmids: Annotated[tuple[PathText, ...], ListOnly] = ()
    """`pubmedqa`, `hoc` (the lists that come with the project), or files of PMIDs."""
    languages: Annotated[tuple[Text, ...] | None, ListOnly] = None
    licences: Annotated[tuple[Text, ...] | None, ListOnly] = None
    """Of full texts; PubMed states none for abstracts."""
    keep_retracted: Flag = False
    prefer_fulltext: Flag = False
    duplicates: Flag = False
    near_duplicates: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None, expected("a number in (0, 1]")
    ] = None
    decontaminate: Annotated[tuple[PathText, ...], ListOnly] = ()
    """Evaluation files: what shares a run of `ngram` words with one goes."""
    ngram: PositiveInt = 13
    workers: PositiveInt = 1


class Tokenizer(Section):
    """Moses and BPE; or, with `path`, a tokenizer.json that is there already."""

    path: PathText | None = None
    vocab_size: Annotated[
        Annotated[int, Field(strict=True, ge=257, le=512_000)],
        expected("an integer from 257 (the 256 bytes and the end of a text) to 512000"),
    ] = 42384
    max_documents: PositiveInt | None = None
    """Train on a sample of so many, as many of each source, by year."""
    seed: Seed = 0


class Pack(Section):
    """Records to HDF5."""

    max_sequence_length: PositiveInt
    layout: Annotated[Literal["sample", "corpus"], expected("sample or corpus")] = "sample"
    seed: Seed = 0
    samples_per_file: PositiveInt = 8192
    compression: Annotated[Literal["gzip", "lz4"] | None, expected("gzip, lz4 or null")] = None
    packing: Annotated[Literal["concatenate", "best_fit"], expected("concatenate or best_fit")] = (
        "concatenate"
    )
    workers: PositiveInt = 1

    @model_validator(mode="after")
    def _has_a_layout_to_fit_in(self) -> "Pack":
        if self.packing == "best_fit" and self.layout == "corpus":
            raise problem("packing: best_fit needs the sample layout; corpus is one stream")
        return self


class Finetune(Section):
    """A task's examples to HDF5."""

    task: Annotated[
        Literal["pubmedqa", "hoc", "hoc_sentence"], expected("pubmedqa, hoc or hoc_sentence")
    ]
    input: PathText
    max_sequence_length: PositiveInt
    num_virtual_tokens: NonNegativeInt | None = None
    vocab_size: PositiveInt | None = None
    subset: Annotated[Literal["pqal", "pqaa", "pqau"] | None, expected("pqal, pqaa or pqau")] = None
    """Of PubMedQA; pqal unless said otherwise."""
    labels_file: PathText | None = None
    """For pqau: JSON of PMID to label."""
    fold: NonNegativeInt | None = None
    include_long_answer: Flag | None = None
    prompt_position: Annotated[Literal["between", "before"], expected("between or before")] = (
        "between"
    )
    """Of the soft prompt: between source and target, or before the source."""

    @model_validator(mode="after")
    def _is_what_the_task_knows(self) -> "Finetune":
        names = ("subset", "fold", "include_long_answer")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        try:
            make_task(self.task, labels_file=self.labels_file and Path(self.labels_file), **options)
        except UserError as error:
            raise problem(str(error)) from None
        return self

    @property
    def folder(self) -> str:
        """Of its own, in finetune/."""
        return self.task if self.subset in (None, "pqal") else f"{self.task}_{self.subset}"


class JobQueue(Section):
    """Dask workers that are jobs of a batch system."""

    system: Annotated[str, AfterValidator(_known_system)]
    jobs: PositiveInt
    """How many to submit."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What dask-jobqueue's class for the system takes: cores, memory, queue, walltime ..."""


class DaskCluster(Section):
    """One of three."""

    scheduler: Text | None = None
    """Address of one that runs, such as tcp://node1:8786."""
    workers: PositiveInt | None = None
    """Processes on this machine."""
    jobqueue: JobQueue | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "DaskCluster":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise problem(f"expected one of scheduler, workers, jobqueue, got {len(given)}")
        return self


class ExecutorChoice(Section):
    """Who does the jobs of parse, merge and pack."""

    dask: DaskCluster


_Empty = BeforeValidator(lambda value: {} if value is None else value)


class RunConfig(Section):
    """A whole run; every stage's output lies in a folder of its own in `out`."""

    out: PathText
    executor: ExecutorChoice | None = None
    """Without it, `workers` processes of this machine in each stage."""
    sample: Annotated[Sample, _Empty] | None = Field(default=None)
    fetch: Annotated[Fetch, _Empty] | None = Field(default=None)
    fetch_pmc: Annotated[FetchPmc, _Empty] | None = Field(default=None)
    parse: Annotated[Parse, _Empty] = Field(default_factory=Parse)
    merge: Annotated[Merge, _Empty] = Field(default_factory=Merge)
    tokenizer: Annotated[Tokenizer, _Empty] = Field(default_factory=Tokenizer)
    pack: Pack
    finetune: Annotated[tuple[Finetune, ...], ListOnly] = ()

    @model_validator(mode="after")
    def _has_inputs(self) -> "RunConfig":
        if not (self.sample or self.fetch or self.fetch_pmc or self.parse.inputs):
            raise problem(
                "nothing to read: expected `fetch`, `fetch_pmc`, `sample` or "
                "`parse: {inputs: [...]}`"
            )
        return self

    @model_validator(mode="after")
    def _has_one_of_each_task(self) -> "RunConfig":
        folders = [section.folder for section in self.finetune]
        if len(set(folders)) < len(folders):
            raise problem("finetune: the same task and subset twice")
        return self


def load_run_config(path: Path) -> RunConfig:
    """Read and check a configuration.

    Raises:
        UserError: one line per mistake, ``FILE:LINE: merge.seed: what was expected``.
    """
    document = load_yaml(path, "out")
    # `fetch:` with nothing after it means the defaults; absent, it means no such stage.
    data = {k: {} if v is None and k != "out" else v for k, v in document.data.items()}
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        lines = {_line(document, dict(item)): None for item in error.errors(include_url=False)}
        raise UserError("\n".join(lines)) from None


def _line(document: YamlDocument, item: dict[str, Any]) -> str:
    at = tuple(
        part for part in item["loc"] if isinstance(part, int) or not part.startswith("tuple")
    )
    name = printable(".".join(map(str, at)))
    text = describe(item)
    return f"{document.source}:{document.line_of(at)}: {f'{name}: ' if name else ''}{text}"
