add_executable(learner_probe ${FRAGMENT_DIR}/learner_probe.c)
target_link_libraries(learner_probe PRIVATE learner)
foreach(case trunk_tiny trunk_400mf trunk_800mf train_larc train_sgd train_groups train_queue train_three)
    seer_script(learner_${case}
        COMMAND /usr/bin/python3 ${FRAGMENT_DIR}/learner.py $<TARGET_FILE:learner_probe> ${case})
endforeach()
