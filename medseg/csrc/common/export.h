// Functions that Python calls through ctypes: visible although everything else is hidden.
#pragma once
#define MS_EXPORT extern "C" __attribute__((visibility("default")))
