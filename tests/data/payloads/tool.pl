use strict;
use warnings;
my $how = shift;
print "record $_ parsed\n" for 1 .. 5;
if ($how eq "die") { die "unknown option --ouput, see --help\n" }
if ($how eq "file") { open(my $in, "<", "conf/list.txt") or die "cannot open conf/list.txt: $!" }
if ($how eq "module") { require Bio::SeqIO::Fast }
if ($how eq "method") { my $none; $none->run() }
if ($how eq "exit") { exit 5 }
if ($how eq "full") { open(my $out, ">", "checkpoints/list.txt") or die; for (1 .. 4000) { print $out "x" x 1000 or die "write failed: $!" } close($out) or die "close failed: $!" }
