# Debian packages that the set-up unpacked and did not install, for want of root or because the system's are too old,
# are found before the system's. Sets dtk_home, the folder of what the set-up fetched.
set(dtk_home "$ENV{DTK_HOME}")
if(NOT dtk_home)
    set(dtk_home "$ENV{HOME}/.cache/dtk")
endif()
set(dtk_unpacked "${dtk_home}/debian/usr")
if(EXISTS "${dtk_unpacked}")
    list(PREPEND CMAKE_PREFIX_PATH "${dtk_unpacked}")
    file(GLOB dtk_unpacked_headers "${dtk_unpacked}/include/*-linux-gnu")
    include_directories(SYSTEM ${dtk_unpacked_headers})
    # A library from there looks for others of there by the path of who loads it.
    add_link_options(LINKER:--disable-new-dtags)
endif()
