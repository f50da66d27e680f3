/* test_token.c - a token is made once, is for its owner's eyes, and matches as a whole or not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "server/watch/token.h"

static char *directory, *path;

static int begin(void **state)
{
    (void)state;
    char pattern[] = "/tmp/seer-token-XXXXXX";
    directory = mem_string(mkdtemp(pattern));
    path = mem_format("%s/token", directory);
    return 0;
}

static int end(void **state)
{
    (void)state;
    assert_ok(fs_remove_tree(directory));
    mem_free(path);
    mem_free(directory);
    return 0;
}

static enum status load_text(const char *text, struct token *token)
{
    assert_ok(fs_write_file(path, text, strlen(text)));
    assert_int_equal(chmod(path, 0600), 0);
    return token_load(path, token);
}

static void a_token_that_is_not_there_is_made_and_stays(void **state)
{
    (void)state;
    struct token first, second;
    struct stat facts;
    assert_ok(token_load(path, &first));
    assert_int_equal(strlen(first.text), 64);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_ok(token_load(path, &second));
    assert_string_equal(first.text, second.text);
    assert_int_equal(unlink(path), 0);
    assert_ok(token_load(path, &second));
    assert_string_not_equal(first.text, second.text);
}

static void what_others_may_read_or_guess_is_refused(void **state)
{
    (void)state;
    struct token token;
    char *large = mem_zero(1000);
    memset(large, 'a', 999);
    assert_ok(load_text("0123456789abcdef\nnotes\n", &token));
    assert_string_equal(token.text, "0123456789abcdef");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(token_load(path, &token), ERR_INPUT);
    assert_int_equal(load_text("", &token), ERR_INPUT);
    assert_int_equal(load_text("short\n", &token), ERR_INPUT);
    assert_int_equal(load_text(large, &token), ERR_INPUT);
    mem_free(large);
    char *nowhere = mem_format("%s/none/token", directory);
    assert_int_equal(token_load(nowhere, &token), ERR_IO);
    mem_free(nowhere);
}

static void only_the_whole_token_matches(void **state)
{
    (void)state;
    struct token token;
    assert_ok(load_text("0123456789abcdef\n", &token));
    assert_true(token_matches(&token, "0123456789abcdef"));
    assert_false(token_matches(&token, "0123456789abcdeF"));
    assert_false(token_matches(&token, "0123456789abcdef0"));
    assert_false(token_matches(&token, "0123456789abcde"));
    assert_false(token_matches(&token, ""));
    assert_false(token_matches(&token, NULL));
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_token_that_is_not_there_is_made_and_stays),
        IN_DIRECTORY(what_others_may_read_or_guess_is_refused),
        IN_DIRECTORY(only_the_whole_token_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
