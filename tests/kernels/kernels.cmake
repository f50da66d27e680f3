seer_test(test_kernels
    SOURCES test_kernels.c fixture.c reference.c cases_conv.c cases_bn.c cases_pixels.c cases_scores.c
    LIBS device m)
seer_test(test_gradients SOURCES test_gradients.c fixture.c reference.c LIBS device m)
seer_test(test_device LIBS device m)
