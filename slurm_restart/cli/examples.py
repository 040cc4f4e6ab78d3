"""The examples in the help of each subcommand of `csx-restart`."""

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": ("csx-restart run --run-dir model_dir/20261129_120000_restartable",),
    "list": (
        "csx-restart list",
        "csx-restart list --state RUNNING,PENDING",
        "csx-restart list --all --category hardware.node --since 7d",
        "csx-restart list --all --node 'csx[1-4]' --json",
    ),
    "status": (
        "csx-restart status 4711",
        "csx-restart status 4711 --watch",
        "csx-restart status 120_4",
        "csx-restart status model_dir/20261129_120000_restartable",
    ),
    "log": (
        "csx-restart log 4711",
        "csx-restart log 4711 -f",
        "csx-restart log 4711 --attempt 2 | less",
    ),
    "explain": (
        "csx-restart explain 4711",
        "csx-restart explain model_dir/20261129_120000_restartable --json",
    ),
    "nodes": (
        "csx-restart nodes",
        "csx-restart nodes --all --node 'csx[3-4]'",
    ),
    "nodes clear": ('csx-restart nodes clear csx3 --reason "memory replaced"',),
    "nodes exclude": (
        "csx-restart nodes exclude csx3",
        'csx-restart nodes exclude csx3 --for 2d --reason "ECC errors, ticket 4711"',
    ),
    "cancel": ("csx-restart cancel 4711", "csx-restart cancel 120_4 --timeout 60"),
    "stop": (
        "csx-restart stop 4711",
        "csx-restart stop --after-checkpoint 4711",
        "csx-restart stop --json model_dir/20261125_042047_restartable",
    ),
    "resume": (
        "csx-restart resume 4711",
        "csx-restart resume --reset-count --clear-nodes model_dir/20261125_042047_restartable",
    ),
    "set": (
        "csx-restart set 4711 max_num_restarts=5",
        "csx-restart set 4711 min_num_csx=2 shrink_after=1h",
        "csx-restart set 4711 exclude_for=default",
    ),
    "release": (
        "csx-restart release 4711",
        "csx-restart release 120_4",
    ),
    "classify": (
        "csx-restart classify slurm-4712.out",
        "csx-restart classify --state FAILED --exit-code 134:0 --nodes 'csx[1-4]' slurm-4712.out",
        "csx-restart classify --job 4712 --format md",
        "zcat old.log.gz | csx-restart classify --json -",
    ),
    "rules": ("csx-restart rules list --family nccl",),
    "rules list": (
        "csx-restart rules list --category hardware.node",
        "csx-restart rules list --rules mine.yaml",
    ),
    "rules show": ("csx-restart rules show gpu.hang",),
    "rules test": ("csx-restart rules test 'RuntimeError: CUDA error: out of memory'",),
    "rules lint": ("csx-restart rules lint", "csx-restart rules lint mine.yaml"),
    "reconcile": (
        "csx-restart reconcile",
        "sudo -u slurm csx-restart reconcile --every 30",
    ),
    "install": (
        "csx-restart install --print > install.sh",
        "csx-restart install --check --json",
    ),
    "doctor": ("csx-restart doctor", "csx-restart doctor --json"),
    "completion": (
        "csx-restart completion bash > /etc/bash_completion.d/csx-restart",
        "source <(csx-restart completion zsh)",
        "csx-restart completion fish > ~/.config/fish/completions/csx-restart.fish",
    ),
    "hook": (
        "csx-restart hook > /etc/slurm_restart/csx-epilog",
        "csx-restart hook --former /etc/slurm/epilogslurmctld.sh",
    ),
}
"""By the name of the subcommand, as it is typed."""


def add_examples(command: click.Command, name: str) -> None:
    """Let the help of a command, and those of the commands inside it, end with their examples."""
    if name in EXAMPLES:
        lines = ("Examples:", *(f"  {line}" for line in EXAMPLES[name]))
        command.epilog = "\b\n" + "\n".join(lines)
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            add_examples(each, f"{name} {inner}")
