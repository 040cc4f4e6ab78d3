"""A development cluster without the plugin's hook: nothing runs at the end of a job."""

from contrib.testing.dev_cluster import DevCluster
from contrib.testing.managed_cluster import ManagedCluster


class HooklessCluster(ManagedCluster):
    """A cluster on which only the users have installed the package.

    Args:
        nodes: how many nodes.
        requeue_delay: seconds after which Slurm starts a job that it has requeued itself.
        options: options of `devcluster up`.
    """

    def __init__(
        self, *, nodes: int = 4, requeue_delay: int = 120, options: tuple[str, ...] = ()
    ) -> None:
        super().__init__(nodes=nodes, options=options)
        socket = f"AuthInfo=socket={self.root}/run/munge.sock,cred_expire={requeue_delay}"
        self.options = ("--set", socket, *self.options)
        place = self.options.index("--epilog")
        self.options = (*self.options[:place], *self.options[place + 2 :])

    def up(self) -> None:
        """Boot, with this interpreter's commands in the users' PATH."""
        DevCluster.up(self)
        self.use_package()

    def reconcile(self) -> dict[str, int]:
        """Do nothing: there is no reconciler either."""
        return {}
