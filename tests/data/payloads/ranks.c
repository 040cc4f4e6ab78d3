/* MPI programs that fail in the way of their first argument. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    const char *how = argv[1];
    int rank, size, i, buffer[64] = {0};
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (i = 1; i <= 10; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        if (rank == 0) printf("step %d time %.3f\n", i, 0.1 * i);
    }
    fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD);
    if (!strcmp(how, "abort_told") && rank == 1) {
        fprintf(stderr, "ERROR: input deck has 12 blocks, which do not divide among %d ranks\n", size);
        MPI_Abort(MPI_COMM_WORLD, 7);
    } else if (!strcmp(how, "abort") && rank == 1) {
        MPI_Abort(MPI_COMM_WORLD, 7);
    } else if (!strcmp(how, "leave") && rank == 1) {
        exit(3);
    } else if (!strcmp(how, "segfault") && rank == 1) {
        raise(SIGSEGV);
    } else if (!strcmp(how, "bus") && rank == 1) {
        raise(SIGBUS);
    } else if (!strcmp(how, "kill") && rank == 1) {
        raise(SIGKILL);
    } else if (!strcmp(how, "libabort") && rank == 1) {
        abort();
    } else if (!strcmp(how, "truncate")) {
        if (rank == 0) MPI_Send(buffer, 64, MPI_INT, 1, 0, MPI_COMM_WORLD);
        if (rank == 1) MPI_Recv(buffer, 8, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (!strcmp(how, "bad_rank") && rank == 1) {
        MPI_Send(buffer, 1, MPI_INT, size + 3, 0, MPI_COMM_WORLD);
    } else if (!strcmp(how, "bad_count") && rank == 1) {
        MPI_Send(buffer, -1, MPI_INT, 0, 0, MPI_COMM_WORLD);
    } else if (!strcmp(how, "nan") && rank == 1) {
        fprintf(stderr, "FATAL: NaN detected in field rho at cell 1812\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    } else if (!strcmp(how, "io") && rank == 1) {
        MPI_File file;
        MPI_File_set_errhandler(MPI_FILE_NULL, MPI_ERRORS_ARE_FATAL);
        MPI_File_open(MPI_COMM_SELF, "mesh/grid.bin", MPI_MODE_RDONLY, MPI_INFO_NULL, &file);
    } else if (!strcmp(how, "term") && rank == 1) {
        kill(getppid(), SIGTERM);
        sleep(20); /* until the launcher ends this rank */
    } else if (!strcmp(how, "interrupt") && rank == 1) {
        kill(getppid(), SIGINT);
        sleep(20); /* until the launcher ends this rank */
    } else if (!strcmp(how, "hang")) {
        if (rank == 0) MPI_Recv(buffer, 1, MPI_INT, 1, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (!strcmp(how, "again")) {
        MPI_Finalize();
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
