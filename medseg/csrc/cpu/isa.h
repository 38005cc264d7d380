// Choice of the instruction set of the float32 CPU kernels at run time.
//
// Kernels that are compiled for several instruction sets are reached through tables of plain functions, one table for each
// instruction set: score_kernels.h, conv_kernels.h and *_rows.h declare them, the .inc file of the same name is their code, and
// one .cpp file for each instruction set compiles it. These .cpp files contain instructions that the processor may not have.
// The linker keeps one copy of an inline function for the whole library, and it could keep the copy from such a file. So
// everything in them has internal linkage, and they use no std:: templates.
#pragma once

namespace medseg {

// Name of the instruction set in use: the one that MEDSEG_ISA names, otherwise the best that this processor has. Throws an
// error of one line for a name that is unknown or that the processor does not support.
const char* float_isa();

}  // namespace medseg
