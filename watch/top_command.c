/* top_command.c - tmp */
#include "watch/commands.h"
static int run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 0;
}
const struct command top_command = {"top", "x", run};
