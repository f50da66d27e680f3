seer_test(test_kernels
    SOURCES test_kernels.c fixture.c reference.c cases_conv.c cases_bn.c cases_memory.c cases_pixels.c cases_scores.c
    LIBS device m)
seer_test(test_gradients SOURCES test_gradients.c fixture.c reference.c LIBS device m)
seer_test(test_device SOURCES test_device.c fixture.c LIBS device m)
# The same on a GPU, where there is one.
foreach(name test_kernels test_gradients test_device)
    seer_script(${name}_cuda COMMAND ${name} --device cuda:0 LABELS gpu)
endforeach()
