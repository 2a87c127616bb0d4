"""What goes wrong on its way: damaged and hostile files, killed runs, full disks, two runs at once.

`./run_tests.sh` runs the short version with everything else, `./run_tests.sh tests/faults --long` the long one.
Every mutant has a number, and the same number is the same mutant on every machine.
"""
