seer_test(test_disk_faults SOURCES test_disk_faults.c faults.c LIBS server loader TIMEOUT 300)
set_target_properties(test_disk_faults PROPERTIES ENABLE_EXPORTS ON) # liblmdb calls what faults.c defines
