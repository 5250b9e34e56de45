#pragma once
// Catch2 2.13 or 3, whichever the machine has.
// LibTorch has a CHECK of its own, which ends the program: its header goes first, whatever a test includes.
#if __has_include(<c10/util/Logging.h>)
#include <c10/util/Logging.h>
#undef CHECK
#endif
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
