#!/bin/sh -e
${install}
