file(GLOB kernel_cases CONFIGURE_DEPENDS ${FRAGMENT_DIR}/cases_*.c)
seer_test(test_kernels
    SOURCES test_kernels.c fixture.c reference.c ${kernel_cases}
    LIBS device m
    TIMEOUT 600)
seer_test(test_gradients SOURCES test_gradients.c fixture.c reference.c LIBS device m)
seer_test(test_device SOURCES test_device.c fixture.c LIBS device m)
# The same with activations in bf16, where the processor computes with them.
foreach(name test_kernels test_gradients test_device)
    seer_script(${name}_cpu_bf16 COMMAND ${name} --device cpu:bf16)
endforeach()
# The same on a GPU, where there is one.
foreach(name test_kernels test_device)
    seer_script(${name}_cuda COMMAND ${name} --device cuda:0 LABELS gpu)
    seer_script(${name}_cuda_fp32 COMMAND ${name} --device cuda:0:fp32 LABELS gpu)
endforeach()
seer_script(test_gradients_cuda_fp32 COMMAND test_gradients --device cuda:0:fp32 LABELS gpu)

# And with the CUDA device emulated on the host. Its objects come before cuda_absent.c of the library.
if(EVERSEER_EMULATED_GPU)
    set(emulated $<TARGET_OBJECTS:device_emulated> $<TARGET_OBJECTS:device_emulated_bf16>
        $<TARGET_OBJECTS:device_emulated_fp16> $<TARGET_OBJECTS:device_emulated_fp32>)
    seer_test(test_kernels_emulated
        SOURCES test_kernels.c fixture.c reference.c ${kernel_cases}
        LIBS device m
        TIMEOUT 600
        ARGS --device cuda:0)
    seer_test(test_gradients_emulated
        SOURCES test_gradients.c fixture.c reference.c
        LIBS device m
        ARGS --device cuda:0:fp32)
    seer_test(test_device_emulated SOURCES test_device.c fixture.c LIBS device m ARGS --device cuda:0)
    # Of the emulated GPU itself, and of the device on a GPU that fails.
    seer_test(test_emulator SOURCES test_emulator.c probe_kernels.cu LIBS device)
    seer_test(test_cuda LIBS device m)
    set_source_files_properties(${FRAGMENT_DIR}/probe_kernels.cu PROPERTIES LANGUAGE CXX)
    foreach(name test_kernels_emulated test_gradients_emulated test_device_emulated test_emulator
            test_cuda)
        target_sources(${name} PRIVATE ${emulated})
        target_include_directories(${name} BEFORE PRIVATE
            ${CMAKE_SOURCE_DIR}/worker/device/cuda/emulated)
        target_compile_definitions(${name} PRIVATE
            CUDA_LAUNCH_H="worker/device/cuda/emulated/launch_emulated.h")
    endforeach()
    # The other kinds differ by conversions and vector widths: AddressSanitizer sees them in bf16's.
    set(other_kinds fp16 fp32)
    if(EVERSEER_SANITIZE)
        set(other_kinds)
    endif()
    foreach(kind ${other_kinds})
        seer_script(test_kernels_emulated_${kind} TIMEOUT 600
            COMMAND test_kernels_emulated --device cuda:0:${kind})
    endforeach()
endif()
