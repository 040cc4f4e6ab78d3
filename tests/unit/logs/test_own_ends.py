"""Programs that end themselves and say why, in the words of many fields: own texts."""

import pytest

from .judge_text import judge_text

STEPS = "".join(f"step {number} | loss 2.1\n" for number in range(300))

KINDS = {
    # A program that says FATAL or ABORT at its start, of its own accord.
    "config": (
        "FATAL from PE     3: mesh_mod: two tiles share the edge (4,7)",
        " 7: FATAL from PE   7: set_axes: the axis depth is given twice",
        "FATAL: decompose: 96 columns do not divide by 5 bands",
        "[FATAL] plan: the reach 17 has no outlet",
        "ABORT: nparts > maxparts   48  32",
        "ABORTED: the coupler has no component named ice",
        "Fatal: species OX is used before it is declared",
        "*** FATAL ERROR *** the table of opacities has 3 columns",
        "ERROR STOP number of layers differs from that of the grid",
        "fatal error: basis set for element Xx was not given",
        "FATAL CALLED FROM FILE:  <stdin>  LINE:     9\n the nest d03 has no parent",
        "Abaqus Error: The following file(s) could not be located: base.odb\nbase.odb",
        "ERROR:  Error while reading CASE.DEF!  ierr=***\nan error occured: dying ...",
        "     Error in routine  fft_setup (6):\n  a rank without planes. Choose fewer ranks",
        "from setup : error # 2\ntoo few bands for this metal",
        "Throw test that evaluated to true: p.isSet(name)\n\nSolver: Parameter fill is invalid",
        "ADIOI_Set_lock:: Function not implemented\nADIOI_Set_lock:offset 0, length 8",
        "H5Fcreate: flock failed, errno 38: Function not implemented",
        "License file does not support this version.\nFlexNet Licensing error:-21,126",
        "License checkout failed.\nLicense Manager Error -1\nThe license file cannot be found.",
        "SOLVER LICENSE MANAGER ERROR:\nNo such feature exists.\nFlexNet Licensing error:-5,357",
        "Licensing error: -8,523",
        # A word of the input that a program does not know.
        " LOAD_BC - illegal boundary condition keyword: clmped",
        "Unknown thermostat method berendsenn in line 7",
        "READ_CARDS: INVALID KEYWORD in section 3",
        "turb_init: unrecognized closure scheme kk-eps",
        "setup: undefined species CO9 in reaction 12",
        "MESH> unsupported element type HEX21",
        "the unknown basis set 6-31GG was asked for",
        "ocean: invalid calendar noleapp",
        "xc: unknown functional PBEE",
        "material 4: undefined material steel2",
        "STOP the number of tiles differs from the layout",
        "PMI2_Init failed to intialize.  Return code: 14",
        "#005: ../src/H5Gloc.c line 378 in H5G__loc_find_cb(): object 'Time' doesn't exist",
    ),
    "code": (
        "Error in fit(x, y) : \n  'by' has to be of length 2\nExecution halted",
        'Error in solve_all(m) : \n  could not find function "pinv"\nExecution halted',
        "Fortran runtime error: Nonnegative width required in format string",
        "Fortran runtime error: Unexpected element 'q' in format",
        "Fortran runtime error: Incorrect extent in argument to DOT_PRODUCT intrinsic",
        "[n1:4] *** MPI_ERR_RANK: invalid rank",
    ),
    "compile": (
        "ifort: error #10236: File not found:  'umat.f'",
        "gcc: fatal error: no input files",
        "ifx: command line error: option '-fo' not supported",
        "/usr/bin/ld: cannot find -lnetcdff",
        "nvc++-Error-x: no\nclang++: error: unsupported option '-fopenmpx'",
        "Solver Error: Problem during compilation - user.f",
        "mpif90: error: unrecognized command-line option '-qopenmpp'",
        "RuntimeError: Error launching CUDA compiler: 512",
        "x86_64-conda-linux-gnu-gcc: error: kern.c: No such file or directory",
        "ftn-855: error MAIN, File = a.f90, Line = 3",
    ),
    # The numbers have become invalid.
    "numeric.nan": (
        "FATAL from PE    40: surface flux: overflow of the table, 12 points",
        "ERROR:: Solve: Numerical Error: the system diverged over the tolerance.",
        "*** ERROR *** water imbalance in column 42",
        "STOP: negative layer thickness at (3,4)",
        "ERROR: Numerical Instability - run stopped",
        "ERROR in CarbonBalanceCheck.F90 at line 473",
        "Aborting: forces are too large in cell 9",
        "SolverError: the matrix is not positive definite",
        "ERROR: Jacobian has a zero pivot in row 4",
        "     Error in routine  cdiaghg (161):\n      problems computing cholesky",
        "from c_bands : error # 1\ntoo many bands are not converged",
        "Throw test that evaluated to true: alpha <= 0\n\nCG::iterate(): non-positive value met!",
    ),
    # What lies outside the program.
    "dependency.service": (
        "License checkout failed.\nLicense Manager Error -15",
        "Cannot connect to license server system.\nFlexNet Licensing error:-15,578.",
        "Could not obtain license for 'Flow'.\nLicensed number of users already reached.",
        "FLEXnet Licensing error: -96,491.",
        "ERROR: not enough licenses of feature cfd_solve",
        "ERROR: lost connection to license daemon",
        "MATLAB is unable to connect to the license server.",
        "License server machine is down or not responding.",
        "License checkout failed.\nSSL Exception: error:14094410:SSL routines",
        "FlexNet Licensing error:-4,132",
    ),
    "network.fabric": (
        "Error in get(w) : the connection was lost\nExecution halted",
        "Abort(4) on node 3 (rank 3 in comm 0): Fatal error in PMPI_Allreduce: Other MPI error",
        "Fatal error in internal_Waitall: Other MPI error, error stack:",
        "[n1:4] *** An error occurred in MPI_Recv\n[n1:4] *** MPI_ERR_INTERN: internal error",
        "*** An error occurred in MPI_Bcast\n*** MPI_ERR_IN_STATUS: error code in status",
        "[0] MPI startup(): dapl fabric is not available and fallback fabric is not enabled",
        "MPIDI_OFI_mpi_init_hook(13): OFI get address vector map failed",
    ),
    "auth": (
        "Error in netCDF:\n Permission denied",
        "open of the table:\nPermission denied",
        (
            "Error using parpool (line 132)\nUnable to check out a license for the Toolbox.\n"
            "Invalid security token. (Status code: Unauthorized)"
        ),
    ),
    "network.rendezvous": (
        "[2026-09-08T13:01:38.539] error:  mpi/pmix_v4: request: c2 [0]: unexpected contrib from 1",
        "slurmstepd: error:  mpi/pmix_v3: pmixp_coll_ring_reset_if_to: n1 [0]: ring timeout failed",
        "[mpiexec@n1] HYDU_parse_hostfile (a.c:323): unable to open host file: /var/spool/aux/6",
    ),
    "oom_host": (
        "Reason: Could not malloc()--are we out of memory? (used: 14.8MB)",
        "malloc of 80000000 bytes failed",
        "ERROR: failed to malloc workspace",
        "realloc() failed in grow_list",
        "could not calloc the halo",
        "unable to allocate working memory for the solver",
        "calloc failed: 40 GB",
        "Failed to allocate the work memory",
    ),
    "software.crash": (
        "Assertion failed in file src/mpid/ch4/src/comm.c at line 72: in_use == 0",
        "INTERNAL ERROR: invalid error code 66 (Ring ids do not match) in MPIR_Alltoall_intra:124",
        "Assertion failed in file ../../nemesis/tcp.c at line 9: hdr.type == 1\ninternal ABORT",
        "*** Error in `/opt/mpich/bin/hydra_pmi_proxy': malloc(): memory corruption: 0x1 ***",
    ),
    "data.corrupt": (
        "[main_samview] truncated file.",
        "[E::bgzf_read] Read block operation failed: invalid block",
        "gzip: reads_1.fq.gz: unexpected end of file",
        "pigz: a.gz: corrupted -- crc error",
        "FATAL ERROR: number of bytes expected in bin 4 does not agree with the size on disk",
        "Fortran runtime error: Sequential READ or WRITE not allowed after EOF marker",
        "ERROR: FASTQ record 18 is malformed",
    ),
    # Words of failure without a reason, or with one that the program does not bring about.
    "unknown": (
        " ERROR: Unknown error submitted to shr_abort.",
        "Error in receive(w) : \n  the worker has closed its socket\nExecution halted",
        "FATAL from PE   6: the halo exchange with PE 7 did not end",
        "FATAL: cannot reach the server of the coupler",
        "Fatal error:\nThe job was interrupted by its host",
        "FATAL CALLED FROM FILE:  <stdin>  LINE:     9\nerror opening restart_d01 for reading",
        (
            "MissingOutputException in rule map in file S, line 3:\nJob 0 completed, but "
            "some output files are missing. This might be due to filesystem latency."
        ),
        "ABORT: the exchange with rank 7 failed",
        "ERROR STOP model.bin run failure",
        "STOP error",
        "STOP see the file of errors",
        "ERROR STOP writing of field 3 was aborted",
        "Warning: unknown keyword, ignored",
        "invalid device option",
        (
            "srun: error: n1: task 3: Exited with exit code 1\n"
            "slurmstepd: error: _is_a_lwp: open() /proc/42/status failed: No such file or directory"
        ),
    ),
}
CASES = [(category, text) for category, texts in KINDS.items() for text in texts]


@pytest.mark.parametrize(("category", "text"), CASES)
def test_the_words_of_a_program_tell_the_category(category: str, text: str) -> None:
    found = judge_text(f"reading the case\n{text}\n", "1:0")
    assert found.category.value == category
    assert not found.blamed


@pytest.mark.parametrize("text", KINDS["config"][:15])
def test_a_message_after_long_progress_stops_no_run(text: str) -> None:
    assert judge_text(f"{STEPS}{text}\n", "1:0").category.recoverable


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (
            (
                "ERROR: the tide table is odd\nRank 2 called MPI_Abort(MPI_COMM_WORLD, 1)\n"
                "forrtl: error (76): Abort trap signal"
            ),
            "ERROR: the tide table is odd",
        ),
        (
            "3: ERROR: the tide table is odd\n_pmiu_daemon(SIGCHLD): PE RANK 3 exit signal Aborted",
            "3: ERROR: the tide table is odd",
        ),
        (
            "ERROR: the tide table is odd\nan error occured: dying ...",
            "ERROR: the tide table is odd",
        ),
        (
            "License checkout failed.\nLicense Manager Error -1\nThe license file cannot be found.",
            "The license file cannot be found.",
        ),
        (
            "Convergence failure of the density.\nError termination via Lnk1e in /opt/g/l502.exe",
            "Convergence failure of the density.",
        ),
        (
            (
                "MissingOutputException in rule map in file S, line 3:\n"
                "Exiting because a job execution failed. Look above for error message"
            ),
            "MissingOutputException in rule map in file S, line 3:",
        ),
        (
            (
                "ERROR ~ Error executing process > 'ALIGN (S1)'\nCaused by:\n"
                "  Process `ALIGN (S1)` failed to reach its scratch"
            ),
            "Process `ALIGN (S1)` failed to reach its scratch",
        ),
        (
            (
                "*********** Caught Exception: Begin Error Report ***********\nThrow number = 1\n"
                "Throw test that evaluated to true: info > 0\n\nKLU2 numeric factorization failed"
            ),
            "KLU2 numeric factorization failed",
        ),
    ],
)
def test_the_cause_is_the_line_that_says_why(text: str, root: str) -> None:
    found = judge_text(f"{text}\n", "1:0")
    assert found.root_cause is not None
    assert found.root_cause.text == root


@pytest.mark.parametrize(
    "warning",
    [
        "WARNING: unknown option --fast, using the default",
        "Warning: file forcing.nc does not exist, climatology is used",
        "[WARNING] config: batch_size must be divisible by 8",
        "2026-01-05 10:00:00,123 WARNING invalid value for nproc, set to 1",
        "WARN: unrecognized arguments: --foo",
        "*** WARNING: must be one of fast, slow",
        "Warning! missing required key 'title'",
        "WARNING - module.py:3: size mismatch for the head",
        "3: WARNING: the configuration file was not found",
        "[rank2]: WARNING: is not a valid choice",
    ],
)
def test_a_warning_stops_no_run(warning: str) -> None:
    assert judge_text(f"{warning}\nreading\n", "1:0").category.recoverable
    found = judge_text(f"{warning}\nerror: unrecognized arguments: --size\n", "2:0")
    assert found.category.value == "config"
    assert found.root_cause is not None
    assert found.root_cause.line == 2
