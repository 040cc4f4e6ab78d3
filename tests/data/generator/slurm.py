"""Cases on a cluster."""

CASES = ()


def run(_cases, _python):
    return ()
