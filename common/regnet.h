/* regnet.h - the widths of a RegNetY.
 *
 * Radosavovic et al., "Designing Network Design Spaces", CVPR 2020, equations 2 to 4: widths grow
 * linearly, are quantised to powers of wm, rounded to 8, and runs of equal width are stages. Every
 * rounding is half-to-even, which decides 800MF (136/16 = 8.5) and SE widths of 256GF (186.5). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_REGNET_H
#define COMMON_REGNET_H

#include "common/architecture.h"

/* Stem and blocks; in_width, has_projection and squeeze-and-excitation too. Errors as
 * architecture_init. */
enum status regnet_init(struct architecture *architecture, const struct config *config);

#endif
