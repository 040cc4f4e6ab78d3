"""The comment record is read back as it was written, and everything else is refused."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.job_comment import (
    JSON_PREFIX,
    MAX_COUNT,
    MAX_LEAD,
    MAX_NODES,
    MAX_RECORD_BYTES,
    MAX_RESTARTS,
    MAX_SECONDS,
    MAX_STEP,
    MAX_TIME,
    PREFIX,
    CommentRecord,
    Mode,
    format_comment,
    format_record,
    is_managed,
    parse_comment,
    split_user_comment,
)
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.errors import CommentRecordError
from tests.unit.core import facts

DIGESTS = st.builds(
    CommentRecord,
    run=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    max_restarts=st.integers(0, 10_000),
    num_nodes=st.integers(100, 100_000),
    min_nodes=st.integers(1, 100),
    mode=st.sampled_from(Mode),
    attempt=st.none() | st.integers(0, 10**6),
    submit=st.none() | st.integers(0, 10**12),
    step=st.none() | st.integers(0, 10**12),
    unit=st.sampled_from(ProgressUnit),
    in_place=st.integers(5, 10_000),
    in_place_failures=st.integers(0, 5),
    in_place_progress=st.booleans(),
    in_place_fall_backs=st.integers(0, 120),
    in_place_same=st.integers(0, 5),
    ended=st.booleans(),
    cause=st.none() | st.sampled_from(Category),
    rule=st.none() | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
    nodes=st.none() | st.from_regex(r"csx\[[0-9]{1,3}-[0-9]{1,3}\]", fullmatch=True),
    no_compile=st.none() | st.from_regex(r"[0-9]{1,6}(,[0-9]{1,6}){0,3}", fullmatch=True),
    said=st.none() | st.from_regex(r"[A-Za-z0-9_.,:/+%()-]{1,80}", fullmatch=True),
)


@given(comment_record=DIGESTS, comment=st.text(max_size=80))
def test_what_goes_in_comes_out(comment_record: CommentRecord, comment: str) -> None:
    whole = format_comment(comment_record, comment)
    assert parse_comment(whole) == comment_record
    assert split_user_comment(whole) == comment.rstrip()
    assert len(format_record(comment_record)) <= MAX_RECORD_BYTES


def test_the_longest_record_has_room_beside_what_may_be_left_out() -> None:
    longest = CommentRecord(
        run="f" * 16,
        max_restarts=MAX_RESTARTS,
        num_nodes=MAX_NODES,
        min_nodes=MAX_NODES,
        mode=max(Mode, key=lambda mode: len(mode.value)),
        phase=10_000,
        stop_on_repeat=MAX_RESTARTS,
        shrink_after=MAX_SECONDS,
        give_up_after=MAX_SECONDS,
        exclude_for=MAX_SECONDS,
        node_search=True,
        lead=MAX_LEAD,
        fixed_size=True,
        stop=MAX_COUNT,
        prior_failures=MAX_RESTARTS,
        prior_total=MAX_COUNT,
        cleared=MAX_TIME,
        unit=ProgressUnit.SECOND,
        attempt=MAX_STEP,
        spares=MAX_NODES,
        submit=MAX_STEP,
        restarts=MAX_STEP,
        in_place=MAX_RESTARTS,
        in_place_failures=MAX_RESTARTS,
        in_place_progress=True,
        in_place_fall_backs=2,
        in_place_same=MAX_RESTARTS,
        in_place_seconds=MAX_SECONDS,
        earlier=True,
        from_step=MAX_STEP,
        step=MAX_STEP,
        ended=True,
        exit=255,
        cause=max(Category, key=lambda category: len(category.value)),
        rule="a" * 64,
        root="f" * 8,
        likely=True,
        put_off=True,
    )
    assert {field.name for field in fields(longest) if getattr(longest, field.name) is None} == {
        "nodes",
        "said",
        "left_out",
        "no_compile",
    }
    sizes = ",".join(["100000"] * 4)
    dropped = replace(longest, nodes="n" * 160, left_out="o" * 160, no_compile=sizes)
    full = format_record(replace(dropped, said="s" * 80))
    assert full == format_record(longest)
    assert len(full) <= MAX_RECORD_BYTES
    assert parse_comment(PREFIX + full) == longest


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    comment_record=DIGESTS,
    members=st.dictionaries(st.text(max_size=8), JSON, max_size=3),
    blanks=st.booleans(),
)
def test_a_comment_that_is_a_json_object_stays_one(comment_record, members, blanks) -> None:
    text = json.dumps(members, separators=(", ", ": ") if blanks else (",", ":"))
    whole = format_comment(comment_record, text)
    assert is_managed(whole)
    assert json.loads(whole) == {"csx-restart/1": format_record(comment_record), **members}
    assert split_user_comment(whole) == text
    assert parse_comment(whole) == comment_record
    # As a site's tool may write it anew.
    again = json.dumps(json.loads(whole))
    assert parse_comment(again) == comment_record
    assert json.loads(split_user_comment(again)) == members
    assert format_comment(parse_comment(again), split_user_comment(whole)) == whole


@pytest.mark.parametrize(
    "comment", ["{", "{}x", "[1]", '{"a": 1', ' {"a": 1}', '{"csx-restart/1": "x"}', "[" * 900]
)
def test_a_comment_that_is_no_json_object_follows_the_record(comment: str) -> None:
    whole = format_comment(facts.comment_record(), comment)
    assert whole.startswith(PREFIX)
    assert split_user_comment(whole) == comment


@given(text=st.text(max_size=1100))
def test_any_other_text_is_refused(text: str) -> None:
    for comment in (text, PREFIX + text, JSON_PREFIX + text, f'{JSON_PREFIX}"{text}'):
        try:
            parse_comment(comment)
        except CommentRecordError:
            continue


GOOD = f"run={facts.RUN};max=3;num=3;min=2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run=xyz;max=3;num=3;min=2",
        f"run={facts.RUN};max=3;num=3",
        f"{GOOD};max=4",
        f"{GOOD};max",
        f"{GOOD};shell=x",
        f"run={facts.RUN};max=-1;num=3;min=2",
        f"run={facts.RUN};max=3;num=2;min=3",
        f"run={facts.RUN};max=99999999999999999999;num=3;min=2",
        f"{GOOD};step=1e9",
        f"{GOOD};step=\u0663",
        f"{GOOD};ended=yes",
        f"{GOOD};cause=everything",
        f"{GOOD};nodes=csx1$(reboot)",
        f"{GOOD};rule=../../etc",
        f"{GOOD};rule=a\n",
        f"{GOOD};" + "x" * 600,
        "\x00\x01\x1b[2J" * 100,
    ],
)
def test_a_record_that_this_plugin_never_writes_is_refused(text: str) -> None:
    for comment in (PREFIX + text, f'{JSON_PREFIX}"{text}"}}', f'{JSON_PREFIX}"{text}'):
        with pytest.raises(CommentRecordError):
            parse_comment(comment)


def test_a_long_list_of_nodes_is_left_out_rather_than_the_record() -> None:
    named = facts.comment_record(
        nodes="csx" + "1" * 150, rule="r" * 64, run=facts.RUN, root="a" * 8
    )
    huge = facts.comment_record(nodes="n" * 5000)
    assert parse_comment(format_comment(named)).nodes is not None
    assert parse_comment(format_comment(huge)).nodes is None


def test_what_a_check_printed_is_left_out_before_the_nodes() -> None:
    long = facts.comment_record(
        nodes="csx" + "1" * 150, rule="r" * 64, root="a" * 8, said="x" * 80, lead=60000,
        shrink_after=10**8, give_up_after=10**8, exclude_for=10**8, stop_on_repeat=10_000,
        submit=10**12, step=10**12, from_step=10**12, cleared=10**10, prior_total=10**6, stop=10**6,
        prior_failures=10_000, in_place=1000, in_place_same=1000,
    )  # fmt: skip
    found = parse_comment(format_comment(long))
    assert (found.said, found.nodes) == (None, long.nodes)


def test_sizes_that_do_not_compile() -> None:
    record = replace(facts.comment_record(), no_compile="3,2")
    assert parse_comment(format_comment(record)).refused_sizes == {2, 3}
    assert facts.comment_record().refused_sizes == set()
