# PKGFS_STATIC: which libraries are linked statically beside those of own-libraries.cmake. What is left to the system:
# glibc (names of hosts and users are looked up by plug-ins), and libcurl and libarchive, each with dozens of others.
if(NOT PKGFS_FUSE3_ARCHIVE)
  message(FATAL_ERROR "PKGFS_STATIC needs libfuse3.a beside the shared library")
endif()

add_library(pkgfs_static_crypto INTERFACE)
target_compile_definitions(pkgfs_static_crypto INTERFACE PKGFS_LINKED_CRYPTO)
target_link_libraries(pkgfs_static_crypto INTERFACE OpenSSL::Crypto)
set(crypto_target pkgfs_static_crypto)

add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed)
