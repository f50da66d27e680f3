# virtual_team.c stands in for worker/collective: members are threads of one process.
seer_test(test_swav SOURCES test_swav.c virtual_team.c LIBS learner)
seer_test(test_learner SOURCES test_learner.c learner_fixture.c virtual_team.c LIBS learner TIMEOUT 600)
seer_script(test_learner_cpu_bf16 COMMAND test_learner cpu:bf16 TIMEOUT 600)
seer_test(test_learner_alone SOURCES test_learner_alone.c learner_fixture.c virtual_team.c LIBS learner)
target_link_options(test_learner_alone PRIVATE
    LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign)

seer_test(test_state_share SOURCES test_state_share.c virtual_team.c LIBS learner LABELS threads)
seer_test(test_conv_tuning LIBS device)
seer_test(test_loss_scale LIBS state)
seer_test(test_bn_groups LIBS model)

seer_test(test_memory_plan LIBS learner collective)
seer_script(test_memory_plan_cuda COMMAND test_memory_plan cuda:0 LABELS gpu)

# Training on other devices than the cpu, a GPU where there is one, and the emulated one.
seer_test(test_trajectory LIBS learner collective m ARGS cuda:0 LABELS gpu)
seer_script(test_trajectory_cpu_bf16 COMMAND test_trajectory cpu:bf16)
seer_script(test_memory_plan_cpu_bf16 COMMAND test_memory_plan cpu:bf16)
foreach(kind fp16 fp32)
    seer_script(test_trajectory_${kind} COMMAND test_trajectory cuda:0:${kind} LABELS gpu)
endforeach()
if(EVERSEER_EMULATED_GPU)
    seer_test(test_trajectory_emulated
        SOURCES test_trajectory.c LIBS learner collective m ARGS cuda:0 TIMEOUT 300)
    seer_test(test_memory_plan_emulated
        SOURCES test_memory_plan.c LIBS learner collective ARGS cuda:0 TIMEOUT 300)
    seer_test(test_tape SOURCES test_tape.c virtual_team.c LIBS learner TIMEOUT 300)
    if(EVERSEER_SANITIZE) # slow, and test_trajectory_emulated replays its steps there
        set_tests_properties(unit.test_tape PROPERTIES DISABLED ON)
    endif()
    foreach(name test_trajectory_emulated test_memory_plan_emulated test_tape)
        target_sources(${name} PRIVATE
            $<TARGET_OBJECTS:device_emulated> $<TARGET_OBJECTS:device_emulated_bf16>
            $<TARGET_OBJECTS:device_emulated_fp16> $<TARGET_OBJECTS:device_emulated_fp32>)
    endforeach()
    target_include_directories(test_tape BEFORE PRIVATE
        ${CMAKE_SOURCE_DIR}/worker/device/cuda/emulated)
    if(NOT EVERSEER_SANITIZE) # slow, and bf16 has shown what there is to see
        foreach(kind fp16 fp32)
            seer_script(test_trajectory_emulated_${kind}
                TIMEOUT 300 COMMAND test_trajectory_emulated cuda:0:${kind})
        endforeach()
    endif()
endif()

# A driver's library that is none.
add_library(fake_nvml SHARED ${FRAGMENT_DIR}/fake_nvml.c)
set_target_properties(fake_nvml PROPERTIES
    PREFIX "" OUTPUT_NAME libnvidia-ml SUFFIX .so.1 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fake)
seer_test(test_learning LIBS worker m LABELS threads)
seer_test(test_gpu_health LIBS worker ARGS $<TARGET_FILE:fake_nvml>)
add_dependencies(test_gpu_health fake_nvml)
