#include "samples.h"
int main(void){return 0;}
