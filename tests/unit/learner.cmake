# virtual_team.c stands in for worker/collective: members are threads of one process.
seer_test(test_swav SOURCES test_swav.c virtual_team.c LIBS learner)
seer_test(test_learner SOURCES test_learner.c virtual_team.c LIBS learner TIMEOUT 600) # slow under TSan
target_link_options(test_learner PRIVATE
    LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign)
