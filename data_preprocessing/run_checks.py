"""What would stop a run at a late stage, looked for before its first."""

from pathlib import Path

from data_preprocessing.deduplicate import minhash_library
from data_preprocessing.pmid_lists import pmid_file, read_pmids
from data_preprocessing.run_config import RunConfig
from data_preprocessing.write_hdf5 import compression_arguments
from modelzoo_mediswift.errors import UserError


def refuse_what_cannot_end(config: RunConfig) -> None:
    """Raise UserError for a file or a package that a stage will lack.

    What lies in `out` is not looked for, since the run may make it; nor are labels, which a model
    trained on its data writes.
    """
    named = {
        "parse.inputs": config.parse.inputs,
        "merge.decontaminate": config.merge.decontaminate,
        "tokenizer.path": (config.tokenizer.path,) if config.tokenizer.path else (),
        "finetune.input": tuple(section.input for section in config.finetune),
    }
    out = Path(config.out).resolve()
    for key, paths in named.items():
        for path in map(Path, paths):
            if not path.exists() and not path.resolve().is_relative_to(out):
                raise UserError(f"{key}: {path}: no such file or folder")
    for path in map(pmid_file, config.merge.exclude_pmids):
        if not path.resolve().is_relative_to(out):
            read_pmids(path)
    if config.merge.near_duplicates is not None:
        minhash_library()
    compression_arguments(config.pack.compression)
