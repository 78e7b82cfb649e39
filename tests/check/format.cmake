# Formatting is not discussed: clang-format says what it should be, ops/check --fix makes it so.
find_program(CLANG_FORMAT clang-format)
if(CLANG_FORMAT)
    add_test(NAME check/format
             COMMAND sh -c "find lib proto frontend supervisor workers tests -name '*.[ch]' -not -path '*/vectors/*' -print0 | xargs -0 -n 32 ${CLANG_FORMAT} --dry-run -Werror"
             WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(check/format PROPERTIES LABELS unit TIMEOUT 120)
endif()
