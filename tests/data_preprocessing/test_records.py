from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_preprocessing.records import (
    PMC_FULLTEXT,
    PUBMED_ABSTRACT,
    ROW_GROUP_ROWS,
    Record,
    RecordSink,
    read_batches,
    read_metadata,
    read_parquet,
    write_parquet,
)
from modelzoo_mediswift.errors import UserError

_text = st.text(st.characters(exclude_categories=["Cs"]))
_records = st.builds(
    Record,
    pmid=st.none() | st.integers(1, 2**62),
    pmcid=st.none() | st.integers(1, 2**62),
    version=st.integers(1, 1000),
    title=_text,
    text=_text,
    source=st.sampled_from([PUBMED_ABSTRACT, PMC_FULLTEXT]),
    licence=st.none() | _text,
    year=st.none() | st.integers(1600, 2100),
    date_revised=st.none() | st.dates().map(lambda day: day.isoformat()),
    language=st.sampled_from(["eng", "fre", "und"]),
    publication_types=st.lists(_text, max_size=3),
)


def abstract(pmid: int, text: str = "text") -> Record:
    return Record(pmid=pmid, title=f"Title {pmid}", text=text, source=PUBMED_ABSTRACT)


@settings(max_examples=40, deadline=None)
@given(records=st.lists(_records, max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, records) -> None:
    path = tmp_path_factory.mktemp("records") / "r.parquet"
    assert write_parquet(path, records) == len(records)
    assert list(read_parquet(path)) == records


def test_document_id_names_the_archive_that_the_text_comes_from() -> None:
    both = {"pmid": 7, "pmcid": 9, "title": "", "text": ""}
    assert Record(**both, source=PUBMED_ABSTRACT).document_id == "PMID:7"
    assert Record(**both, source=PMC_FULLTEXT).document_id == "PMC9"
    only_pmid = Record(pmid=7, title="", text="", source=PMC_FULLTEXT)
    assert only_pmid.document_id == "PMID:7"


def test_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = [abstract(i, "word " * (i % 50)) for i in range(3000)]
    write_parquet(tmp_path / "a.parquet", records)
    write_parquet(tmp_path / "b.parquet", iter(records))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_row_groups_stay_small(tmp_path: Path) -> None:
    many = tmp_path / "many.parquet"
    write_parquet(many, (abstract(i) for i in range(2 * ROW_GROUP_ROWS + 1)))
    groups = pq.ParquetFile(many).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [
        ROW_GROUP_ROWS,
        ROW_GROUP_ROWS,
        1,
    ]
    large = tmp_path / "large.parquet"
    write_parquet(large, (abstract(i, "x" * (5 << 20)) for i in range(8)))
    assert pq.ParquetFile(large).metadata.num_row_groups == 2  # 4 x 5 MiB > 16 MiB


def test_metadata_is_taken_after_the_last_record(tmp_path: Path) -> None:
    footer: dict[str, str] = {}

    def records():
        yield abstract(1)
        footer["seen"] = "1"

    write_parquet(tmp_path / "r.parquet", records(), footer)
    assert read_metadata(tmp_path / "r.parquet")["seen"] == "1"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    write_parquet(path, [abstract(1)])
    before = path.read_bytes()

    def broken():
        yield abstract(2)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_parquet(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_sink_does_not_show_a_file_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with RecordSink(path):
        assert not path.exists()
    assert list(read_parquet(path)) == []


def test_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        list(read_parquet(tmp_path / "none.parquet"))

    whole = tmp_path / "whole.parquet"
    write_parquet(whole, [abstract(i, "some text " * 50) for i in range(100)])
    data = whole.read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cut\.parquet: not a readable Parquet file"):
        list(read_parquet(cut))
    with pytest.raises(UserError, match=r"cut\.parquet"):
        read_metadata(cut)

    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"pmid": [1], "abstract": ["x"]}), foreign)
    with pytest.raises(UserError, match=r"columns pmid, abstract; expected pmid, pmcid, version"):
        list(read_parquet(foreign))


def test_damage_inside_the_data_is_found(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    write_parquet(path, [abstract(i, f"{i * 7919} " * 80) for i in range(500)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"r\.parquet: not a readable Parquet file"):
        list(read_parquet(path))


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    write_parquet(tmp_path / "r.parquet", [abstract(5)])
    (batch,) = read_batches(tmp_path / "r.parquet", columns=["pmid", "source"])
    assert batch.to_pylist() == [{"pmid": 5, "source": PUBMED_ABSTRACT}]
