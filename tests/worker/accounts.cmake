# Accounts: two whole servers, driven through HTTP. And what the unit tests of this kind need beyond the libraries.
if(TARGET test_accounts_password)
    target_link_libraries(test_accounts_password PRIVATE crypt PkgConfig::unistring)
endif()
if(TARGET myelin-accounts AND TARGET myelin AND TARGET myelin-frontend)
    add_test(NAME worker/accounts COMMAND ${Python3_EXECUTABLE} -W ignore ${CMAKE_CURRENT_LIST_DIR}/test_accounts.py ${CMAKE_BINARY_DIR})
    set_tests_properties(worker/accounts PROPERTIES LABELS worker TIMEOUT 600 COST 27)
endif()
