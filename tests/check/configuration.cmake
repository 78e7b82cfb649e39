# docs/configuration.md is what the program prints; ops/check --fix makes it new.
add_test(NAME check/configuration
         COMMAND sh -c "$<TARGET_FILE:myelin> config | diff docs/configuration.md - || { echo 'docs/configuration.md is old: ops/check --fix makes it new'; exit 1; }"
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(check/configuration PROPERTIES LABELS unit TIMEOUT 60)
