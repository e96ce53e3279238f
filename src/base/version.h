/* version: what this build calls itself. */
#pragma once
#define BL_VERSION "0.1.0"
