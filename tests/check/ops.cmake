# The scripts of ops/ where they can be tried without a machine of their own; tests/system/ops_run tries the rest.
add_test(NAME check/ops_install COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/ops_install ${CMAKE_SOURCE_DIR})
set_tests_properties(check/ops_install PROPERTIES LABELS check TIMEOUT 60)
