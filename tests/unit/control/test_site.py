"""site.toml is read strictly, and every problem is told at once."""

from pathlib import Path

import pytest

from slurm_restart.control.site import load_site
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


def test_values(tmp_path: Path) -> None:
    text = 'mode = "observe"\nstate_dir = "/s"\n[policy]\nbackoff = [1]\n[hook]\nmargin = 2\n'
    site = load_site(written(tmp_path, text))
    assert (site.observe, str(site.state_dir)) == (True, "/s")
    assert (site.policy.backoff, site.limits.margin) == ((1,), 2.0)


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


@pytest.mark.parametrize("text", ["mode =", "\x00", "policy = 3"])
def test_what_is_not_toml_or_no_table_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_site(written(tmp_path, text))


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.chmod(0o664)
    with pytest.raises(ConfigError, match="chmod go-w"):
        load_site(path)
    path.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod go-w"):
        load_site(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_site(tmp_path / "site.toml")
