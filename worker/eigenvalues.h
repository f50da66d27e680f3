/* eigenvalues.h - eigenvalues of a small symmetric matrix.
 *
 * Rejected: LAPACK. What Debian may have in its place, OpenBLAS, starts a thread for each core as
 * soon as it is loaded, in a worker that counts its threads. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EIGENVALUES_H
#define WORKER_EIGENVALUES_H

/* matrix: [n][n], symmetric, of which the lower half is read; it is used up. ret_values: [n],
 * rising, to about 1e-12 of the largest. Householder's tridiagonal form (4/3 n^3 operations), then
 * bisection by Sturm counts: Golub and Van Loan, Matrix Computations, 8.3.1 and 8.4.1. */
void eigenvalues_symmetric(double *matrix, int n, double *ret_values);

#endif
