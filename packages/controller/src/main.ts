#!/usr/bin/env node
import { main } from '@latchkey/runtime';
import { controllerProgram } from './program.js';

void main(controllerProgram());
