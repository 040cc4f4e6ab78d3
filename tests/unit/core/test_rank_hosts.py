"""Which host a rank or task runs on, and when that is not proven."""

import pytest

from slurm_restart.core.rank_hosts import (
    RankHosts,
    find_node,
    is_role_name,
    short_host,
    split_rank,
)


def placed(**hosts: tuple[int, ...]) -> RankHosts:
    """Four tasks on each of the hosts n1 to n3, of which those given ended of themselves."""
    found = RankHosts()
    for number in range(3):
        found.add_tasks(f"n{number + 1}", range(4 * number, 4 * number + 4), of_itself=False)
    for host, tasks in hosts.items():
        found.add_tasks(host, tasks, of_itself=True)
    return found


@pytest.mark.parametrize(
    ("label", "task", "rank"),
    [
        ("", None, None),
        ("9:", 9, None),
        ("09:", 9, None),
        ("[rank9]:", None, 9),
        ("[Rank 9]", None, 9),
        ("1:[rank9]:", 1, 9),
        ("[1,9]<stderr>:", None, 9),
        ("[default1]:[rank9]:", None, 9),
        ("[default1]:", None, None),
        ("[3]:", None, None),
        ("[n3:9]", None, None),
        ("(Trainer pid=9, ip=10.0.0.3)", None, None),
    ],
)
def test_labels(label: str, task: int | None, rank: int | None) -> None:
    assert split_rank(label) == (task, rank)


def test_the_label_of_srun_is_the_task() -> None:
    assert placed().host_of("9:") == "n3"
    assert placed().host_of("12:") == ""
    assert placed().host_of("") == ""


def test_a_rank_is_the_task_of_its_number_where_that_ended_of_itself() -> None:
    assert placed(n3=(9,)).host_of("[rank9]:") == "n3"
    assert placed().host_of("[rank9]:") == ""


def test_a_rank_is_no_task_where_there_are_more_ranks_than_tasks() -> None:
    found = placed(n3=(9,))
    found.note_rank(12)
    assert found.host_of("[rank9]:") == ""
    assert found.host_of("9:") == "n3"


def test_a_rank_is_no_task_where_each_host_has_one_task_and_several_ended() -> None:
    found = RankHosts()
    found.add_tasks("n1", [0], of_itself=False)
    found.add_tasks("n2", [1], of_itself=True)
    assert found.host_of("[rank1]:") == "n2"
    found.add_tasks("n3", [2], of_itself=True)
    assert found.host_of("[rank1]:") == ""


def test_the_launchers_table_gives_the_host_of_a_rank() -> None:
    found = placed(n1=(0,), n2=(4,))
    found.add_rank(9, "n3")
    assert found.host_of("[rank9]:") == "n3"
    assert found.host_of("[1,9]<stdout>:") == "n3"
    assert found.host_of("[rank4]:") == ""


def communicator(*hosts: str, found: RankHosts | None = None) -> RankHosts:
    """A communicator of NCCL with one rank on each of these hosts."""
    found = found or RankHosts()
    for rank, host in enumerate(hosts):
        found.add_member(rank, len(hosts), host, f"{host}:{100 + rank}:0")
    return found


def test_nccls_ranks_are_the_programs_where_all_processes_are_in_one_communicator() -> None:
    found = communicator("n1", "n1", "n2", "n2")
    assert [found.host_of(f"[rank{rank}]:") for rank in range(5)] == ["n1", "n1", "n2", "n2", ""]
    assert found.copy().host_of("[rank3]:") == "n2"
    found.note_rank(4)
    assert found.host_of("[rank3]:") == ""


def test_ranks_of_a_group_are_not_those_of_the_program() -> None:
    found = communicator("n1", "n2")
    found.add_member(0, 2, "n1", "n1:200:1")
    found.add_member(1, 2, "n2", "n2:200:1")
    assert found.host_of("[rank1]:") == ""
    whole = communicator("n1", "n1", "n2", "n2")
    whole.add_member(1, 2, "n2", "n2:102:0")
    assert whole.host_of("[rank1]:") == "n1"


def test_a_communicator_that_is_not_complete_proves_nothing() -> None:
    found = RankHosts()
    found.add_member(1, 3, "n2", "n2:101:0")
    assert found.host_of("[rank1]:") == ""


def test_communicators_that_disagree_prove_nothing() -> None:
    found = communicator("n1", "n2")
    found.add_member(1, 2, "n1", "n1:100:0")
    assert found.host_of("[rank1]:") == ""


def test_sources_that_disagree_prove_nothing() -> None:
    found = placed(n3=(9,))
    found.add_tasks("n1", [9], of_itself=True)
    assert found.host_of("9:") == ""
    assert found.host_of("[rank4]:") == ""
    found.add_rank(4, "n3")
    assert found.host_of("4:[rank4]:") == ""
    found.add_rank(4, "n2")
    assert found.host_of("[rank4]:") == ""


def test_a_host_with_its_domain_is_the_same_host() -> None:
    found = placed()
    found.add_tasks("n3.site.org", [9], of_itself=True)
    found.add_rank(9, "n3.site.org")
    assert find_node(found.host_of("9:[rank9]:"), ["n1", "n3"]) == "n3"


def test_a_copy_is_independent() -> None:
    found = placed()
    found.copy().add_tasks("n1", [9], of_itself=True)
    assert found.host_of("9:") == "n3"
    communicators = communicator("n1", "n2")
    communicator("n3", "n3", "n4", found=communicators.copy())
    assert communicators.host_of("[rank1]:") == "n2"


@pytest.mark.parametrize(
    ("name", "short"),
    [("n3", "n3"), ("n3.site.org", "n3"), ("10.0.0.3", "10.0.0.3"), ("fe80::1.2", "fe80::1.2")],
)
def test_short_hosts(name: str, short: str) -> None:
    assert short_host(name) == short


@pytest.mark.parametrize(
    ("host", "nodes", "node"),
    [
        ("n3", ["n1", "n3"], "n3"),
        ("n3.site.org", ["n1", "n3"], "n3"),
        ("n3", ["n1.site.org", "n3.site.org"], "n3.site.org"),
        ("n3", ["n3.a", "n3.b"], None),
        ("n3", ["n30", "n1"], None),
        ("10.0.0.3", ["n3"], None),
    ],
)
def test_the_node_that_a_host_name_means(host: str, nodes: list[str], node: str | None) -> None:
    assert find_node(host, nodes) == node


@pytest.mark.parametrize("name", ["gpu3", "GPU-3", "rank12", "worker_1", "weight-3", "cuda:0"])
def test_names_of_roles(name: str) -> None:
    assert is_role_name(name)


@pytest.mark.parametrize("name", ["n3", "node3", "gpu-a3", "gpunode12", "nid001202", "worker"])
def test_names_that_may_be_hosts(name: str) -> None:
    assert not is_role_name(name)
