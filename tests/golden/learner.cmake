add_executable(learner_probe ${FRAGMENT_DIR}/learner_probe.c)
target_link_libraries(learner_probe PRIVATE learner eval)
# Those of whole models skip with 77 unless SEER_TEST_LONG is set, but for the first two.
foreach(case trunk_tiny trunk_400mf trunk_800mf train_larc train_sgd train_groups train_queue train_heads train_three
        finetune_plain finetune_nesterov finetune_resnext
        model_400mf model_resnext_tiny model_resnet50 model_8gf model_8gf_torchvision model_resnext101)
    seer_script(learner_${case} TIMEOUT 600
        COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/learner.py $<TARGET_FILE:learner_probe> ${case})
endforeach()
