"""What `contrib/devcluster` is made of.

How the processes of one cluster are told from everything else on the machine:

Every daemon is a child of the cluster's *keeper*, a small process that `up` leaves behind and that
is a child subreaper (prctl(2)). What a daemon, a slurmstepd, a job or a hook leaves orphaned
becomes the keeper's child instead of init's, whatever it does to its session, process group or
environment. So the cluster is the keeper's descendants, and nothing is found by its name. The
keeper also holds what must last as long as the cluster: the lock on DIR and the claim on its ports.

Should somebody kill the keeper, `down` still finds the daemons (pid files with start times), each
slurmstepd (the socket that it listens on lies in its node's spool directory; its environment is of
no use, because it writes its title over it), each job process (SLURM_CLUSTER_NAME, which is unique,
and SLURMD_NODENAME in its environment), and the descendants of all of these.

A cluster of another Debian release (`--release`) runs in a chroot and a mount namespace of its own:
its keeper and daemons are ordinary processes of this machine, its directory is the same inside and
outside, and what is mounted goes with its last process.
"""
