# The worker with the CUDA device emulated on the host, as if it sat beside a GPU.
if(EVERSEER_EMULATED_GPU)
    add_executable(seer-worker-emulated
        ${CMAKE_SOURCE_DIR}/worker/main.c ${CMAKE_SOURCE_DIR}/worker/respawn.c
        $<TARGET_OBJECTS:device_emulated> $<TARGET_OBJECTS:device_emulated_bf16>
        $<TARGET_OBJECTS:device_emulated_fp16> $<TARGET_OBJECTS:device_emulated_fp32>)
    target_link_libraries(seer-worker-emulated PRIVATE worker)
    add_dependencies(seer-worker-emulated seer-helper)
endif()
