#!/usr/bin/env node
import { main } from '@latchkey/runtime/cli';
import { controllerProgram } from './program.js';

void main(controllerProgram());
