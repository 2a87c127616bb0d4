"""What goes wrong on its way: damaged and hostile files, killed runs, full disks, locked folders.

./run_tests.sh runs the short version with everything else; the long one is

    ./run_tests.sh tests/faults --long

Every mutant has a number, and the same number is the same mutant on every machine. The summary at
the end of the run counts by kind what was tried and what was survived.
"""
