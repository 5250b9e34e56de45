#pragma once
#define DTK_API __attribute__((visibility("default")))
