"""What `csx-restart install` compares and prints: the parts of an installation, one by one."""
