// The kernel tables in use: for float32 those of the instruction set in use (isa.h), for float64 the portable ones.
#pragma once
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "conv_kernels.h"
#include "geodesic_rows.h"
#include "isa.h"
#include "quadtree_rows.h"
#include "score_kernels.h"
#include "texture_rows.h"
#include "warp_rows.h"

// The float32 tables of this build, the portable one first.
#if defined(__x86_64__)
#define MS_FLOAT_TABLES(name) {&name##_generic, &name##_avx2, &name##_avx512}
#else
#define MS_FLOAT_TABLES(name) {&name##_generic}
#endif

namespace medseg {

template <class Table>
const Table& table_in_use(std::initializer_list<const Table*> tables) {
  for (const Table* table : tables)
    if (std::strcmp(table->name, float_isa()) == 0) return *table;
  return **tables.begin();
}

template <class T>
const ScoreTable<T>& score_table() {
  if constexpr (std::is_same_v<T, double>) return score_generic64;
  else return table_in_use<ScoreTable<T>>(MS_FLOAT_TABLES(score));
}

template <class T>
const ConvTable<T>& conv_table() {
  if constexpr (std::is_same_v<T, double>) return conv_generic64;
  else return table_in_use<ConvTable<T>>(MS_FLOAT_TABLES(conv));
}

template <class T>
const GeodesicTable<T>& geodesic_table() {
  if constexpr (std::is_same_v<T, double>) return geodesic_generic64;
  else return table_in_use<GeodesicTable<T>>(MS_FLOAT_TABLES(geodesic));
}

template <class T>
const QuadtreeTable<T>& quadtree_table() {
  if constexpr (std::is_same_v<T, double>) return quadtree_generic64;
  else return table_in_use<QuadtreeTable<T>>(MS_FLOAT_TABLES(quadtree));
}

template <class T>
const WarpTable<T>& warp_table() {
  if constexpr (std::is_same_v<T, double>) return warp_generic64;
  else return table_in_use<WarpTable<T>>(MS_FLOAT_TABLES(warp));
}

// The texture kernels compute in float64 for both types; T is the type of the image.
template <class T>
const TextureTable& texture_table() {
  if constexpr (std::is_same_v<T, double>) return texture_generic;
  else return table_in_use<TextureTable>(MS_FLOAT_TABLES(texture));
}

}  // namespace medseg
