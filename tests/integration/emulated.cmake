# The worker with the CUDA device emulated on the host and a NCCL that fails when it is told to, as if it sat
# beside a GPU of its own.
if(EVERSEER_EMULATED_GPU)
    set(fakes ${CMAKE_SOURCE_DIR}/tests/chaos/fakes)
    # Its operations are tasks of the emulated GPU, which the program that loads it has.
    add_library(fake_nccl SHARED ${fakes}/fake_nccl.c)
    set_target_properties(fake_nccl PROPERTIES
        OUTPUT_NAME nccl SOVERSION 2 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fakes)
    add_library(nccl_emulated OBJECT
        ${CMAKE_SOURCE_DIR}/worker/collective/nccl.c
        ${CMAKE_SOURCE_DIR}/worker/collective/nccl_comms.c)
    foreach(library fake_nccl nccl_emulated)
        target_include_directories(${library} BEFORE PRIVATE
            ${fakes} ${CMAKE_SOURCE_DIR}/worker/device/cuda/emulated)
    endforeach()

    add_executable(seer-worker-emulated
        ${CMAKE_SOURCE_DIR}/worker/main.c ${CMAKE_SOURCE_DIR}/worker/respawn.c
        $<TARGET_OBJECTS:nccl_emulated>
        $<TARGET_OBJECTS:device_emulated> $<TARGET_OBJECTS:device_emulated_bf16>
        $<TARGET_OBJECTS:device_emulated_fp16> $<TARGET_OBJECTS:device_emulated_fp32>)
    set_target_properties(seer-worker-emulated PROPERTIES ENABLE_EXPORTS ON)
    target_link_libraries(seer-worker-emulated PRIVATE worker fake_nccl)
    add_dependencies(seer-worker-emulated seer-helper)

    seer_test(test_nccl LIBS collective device fake_nccl m)
    target_sources(test_nccl PRIVATE $<TARGET_OBJECTS:nccl_emulated>
        $<TARGET_OBJECTS:device_emulated> $<TARGET_OBJECTS:device_emulated_bf16>
        $<TARGET_OBJECTS:device_emulated_fp16> $<TARGET_OBJECTS:device_emulated_fp32>)
    set_target_properties(test_nccl PROPERTIES ENABLE_EXPORTS ON)
    set_tests_properties(integration.test_nccl PROPERTIES RUN_SERIAL ON) # its deadlines are short
endif()
