# Formatting is not discussed: clang-format says what it should be, ops/check --fix makes it so. Without the program the test fails and
# says what to install: a check that vanishes would be taken for one that passed.
add_test(NAME check/format
         COMMAND sh -c "find lib proto frontend supervisor workers tests -name '*.[ch]' -not -path '*/vectors/*' -print0 | xargs -0 -n 32 clang-format --dry-run -Werror || { command -v clang-format >/dev/null || echo 'apt-get install clang-format'; exit 1; }"
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(check/format PROPERTIES LABELS unit TIMEOUT 120 COST 3)
