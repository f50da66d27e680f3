/* resnet.h - the widths of a ResNet or ResNeXt with bottleneck blocks.
 *
 * He et al., CVPR 2016, and Xie et al., CVPR 2017, as torchvision builds them ("v1.5": the stride
 * is the 3x3 convolution's). Stage s has planes = stem_width 2^(s-1); its 3x3 convolutions have
 * planes/64 group_width channels in each of `groups` groups, and 4 planes go out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_RESNET_H
#define COMMON_RESNET_H

#include "common/architecture.h"

/* Stem and blocks. Errors as architecture_init. */
enum status resnet_init(struct architecture *architecture, const struct config *config);

#endif
