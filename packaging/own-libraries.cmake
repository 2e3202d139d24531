# The libraries that are part of pkgfs. First the C++ libraries that it uses by their headers only: Debian has no static
# ones of them.
find_package(fmt REQUIRED)
add_library(pkgfs_own_spdlog INTERFACE)
target_compile_definitions(pkgfs_own_spdlog INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY=1)
target_link_libraries(pkgfs_own_spdlog INTERFACE Threads::Threads)
set(spdlog_target pkgfs_own_spdlog)

add_library(pkgfs_own_toml INTERFACE)  # without the definitions that want the library
set(toml_target pkgfs_own_toml)

# libfuse, if it is there as an archive beside the library that the headers are of. For it alone, the dynamic linker
# needs a twentieth of the time of a mount.
pkg_get_variable(fuse3_libdir fuse3 libdir)
find_library(PKGFS_FUSE3_ARCHIVE libfuse3.a PATHS ${fuse3_libdir} NO_DEFAULT_PATH)
if(PKGFS_FUSE3_ARCHIVE)
  set(fuse3_needs ${FUSE3_STATIC_LIBRARIES})
  list(REMOVE_ITEM fuse3_needs fuse3)
  add_library(pkgfs_own_fuse3 INTERFACE)
  target_include_directories(pkgfs_own_fuse3 SYSTEM INTERFACE ${FUSE3_INCLUDE_DIRS})
  # PKGFS_SHARED_FUSE3 is a property of programs that must tell libfuse's code from that of pkgfs.
  target_link_libraries(
    pkgfs_own_fuse3 INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:PKGFS_SHARED_FUSE3>>,PkgConfig::FUSE3,${PKGFS_FUSE3_ARCHIVE}>
                              Threads::Threads ${fuse3_needs})
  set(fuse3_target pkgfs_own_fuse3)
endif()
