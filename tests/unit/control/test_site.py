"""site.toml is read strictly, and one error lists every problem."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from slurm_restart.control.site import HookLimits, load_site
from slurm_restart.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    path.chmod(0o644)
    folder.chmod(0o755)
    return path


def test_defaults(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, ""))
    assert site.policy.max_total_restarts == 100
    assert site.policy.backoff == (30, 120, 300)
    assert not site.observe
    assert site.keep_journals == 90


def test_values(tmp_path: Path) -> None:
    text = (
        'mode = "observe"\nstate_dir = "/s"\nkeep_journals = 0\n'
        "[policy]\nbackoff = [1]\n[hook]\nmargin = 2\n"
    )
    site = load_site(written(tmp_path, text))
    assert (site.observe, str(site.state_dir), site.keep_journals) == (True, "/s", 0)
    assert (site.policy.backoff, site.limits.margin) == ((1,), 2.0)


def test_cs_systems_and_their_nodes(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, '[systems]\ncs3-07 = "csx3"\n"cs3.8" = "csx4.site.org"\n'))
    assert site.systems == {"cs3-07": "csx3", "cs3.8": "csx4.site.org"}
    assert load_site(written(tmp_path, "")).systems == {}


@pytest.mark.parametrize("share", ["0", "0.25", "1", "1.0"])
def test_the_share_of_nodes_with_a_failed_prolog(tmp_path: Path, share: str) -> None:
    site = load_site(written(tmp_path, f"[policy]\nmax_prolog_failed_share = {share}\n"))
    assert site.policy.max_prolog_failed_share == float(share)


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = (
        'mode = "on"\nstate_dir = "relative"\nstat_dir = "/x"\n'
        "[policy]\nbackoff = [-1]\nmax_total_restarts = true\n[hook]\nconcurrency = 0\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_site(written(tmp_path, text))
    named = [problem.split(": ")[1] for problem in caught.value.problems]
    assert named == [
        "mode",
        "state_dir",
        "stat_dir",
        "policy.backoff",
        "policy.max_total_restarts",
        "hook.concurrency",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[hook]\nmargin = nan", "hook.margin: expected a number from 0.1 to 100000000, got nan"),
        ("[hook]\ndeadline = inf", "hook.deadline: expected a number"),
        ("[hook]\ndeadline = 0", "hook.deadline: expected a number"),
        ('[hook]\ndeadline = "60"', "hook.deadline: expected a number"),
        ("[hook]\nconcurrency = 2.5", "hook.concurrency: expected a whole number from 1"),
        ("[policy]\ngive_up_after = -1", "policy.give_up_after: expected a whole number from 0"),
        (
            "[policy]\nmax_uncounted_restarts = 1.5",
            "policy.max_uncounted_restarts: expected a whole number from 0 to 100000000, got 1.5",
        ),
        (
            "[policy]\nmax_prolog_failed_share = 1.1",
            "policy.max_prolog_failed_share: expected a number from 0 to 1, got 1.1",
        ),
        (
            "[policy]\nmax_prolog_failed_share = nan",
            "policy.max_prolog_failed_share: expected a number from 0 to 1, got nan",
        ),
        (
            "[policy]\nmax_prolog_failed_share = true",
            "policy.max_prolog_failed_share: expected a number from 0 to 1, got True",
        ),
        ("[policy]\nbackoff = 30", "policy.backoff: expected a list of seconds, got 30"),
        ("[policy]\nbackoff = [30, true]", "policy.backoff: expected a whole number"),
        ('[systems]\ncs3-07 = ""', "systems.cs3-07: expected the name of one node, got ''"),
        ('[systems]\ncs3-07 = ["csx3"]', "systems.cs3-07: expected the name of one node"),
        ('[systems]\ncs3-07 = "csx[1-3]"', "systems.cs3-07: expected the name of one node"),
        ('[systems]\n"cs3 07" = "csx3"', "systems.cs3 07: expected the name of a CS system"),
        ("systems = 3", "systems: expected a table"),
        ('mode = ["act"]', 'mode: expected "act" or "observe"'),
        ("mode = {act = 1}", 'mode: expected "act" or "observe"'),
        ("keep_journals = -1", "keep_journals: expected a whole number from 0"),
        ("keep_journals = 1.5", "keep_journals: expected a whole number from 0"),
        ("state_dir = 3", "state_dir: expected an absolute path, got 3"),
        ("policy = 3", "policy: expected a table"),
        ("[policy.backoff]\na = 1", "policy.backoff: expected a list of seconds"),
        ("[hok]\nmargin = 1", "hok: unknown key, expected one of export_dir, keep_journals, mode"),
        (
            "[hook]\nghost_after = 60",
            "hook.ghost_after: renamed in release 0.2: write hook.stale_running_after instead",
        ),
        (
            "[hook]\nfollow_up = 90",
            "hook.follow_up: renamed in release 0.2: write hook.helper_timeout instead",
        ),
        ("[hook]\nmargn = 1", "hook.margn: unknown key, expected one of command_timeout"),
    ],
)
def test_each_problem_says_where_it_is_and_what_was_expected(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(written(tmp_path, text))
    [shown] = caught.value.problems
    assert shown.startswith(f"{tmp_path}/site.toml: {problem}")


def test_the_defaults_for_submissions_are_another_programs_table(tmp_path: Path) -> None:
    assert load_site(written(tmp_path, '[slurm]\npartition = "x"\n')) == load_site(
        written(tmp_path, "")
    )


@pytest.mark.parametrize("text", ["mode =", "\x00", "policy = 3"])
def test_what_is_not_toml_or_no_table_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_site(written(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_site(tmp_path / "site.toml")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o620, 0o602])
def test_a_file_that_the_group_or_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, "")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{path}: writable by others: chmod go-w {path}"):
        load_site(path)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_directory_that_the_group_or_others_may_write_is_refused(
    tmp_path: Path, mode: int
) -> None:
    path = written(tmp_path, "")
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{tmp_path}: writable by others: chmod go-w"):
        load_site(path)


def test_in_a_sticky_directory_nobody_else_can_replace_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    tmp_path.chmod(0o1777)
    load_site(path)
    path.chmod(0o1664)  # of a file the bit means nothing
    with pytest.raises(ConfigError):
        load_site(path)


@pytest.mark.parametrize("key", ["state_dir", "export_dir", "slurm_bin", "slurm_conf"])
def test_each_path_is_read(tmp_path: Path, key: str) -> None:
    assert getattr(load_site(written(tmp_path, f'{key} = "/x"\n')), key) == Path("/x")


@pytest.mark.parametrize("limit", [field.name for field in fields(HookLimits)])
def test_each_limit_is_read(tmp_path: Path, limit: str) -> None:
    site = load_site(written(tmp_path, f"[hook]\n{limit} = 5\n"))
    assert site.limits == replace(HookLimits(), **{limit: 5})
