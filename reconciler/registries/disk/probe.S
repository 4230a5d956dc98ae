# What a kernel asks of a processor on its way up: protected mode and a return from an interrupt in it, paging, long mode,
# and a 16-byte exchange. It tells that it got there by a byte on port 0xf4 (qemu's isa-debug-exit).
        .code16
        .org 0
start:  cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x7c00, %sp
        movw $0x8000, %di               # three tables of pages, which map the first 2 MiB to itself
        movw $0x1800, %cx
        rep stosw
        movw $0x9003, 0x8000
        movw $0xa003, 0x9000
        movw $0x0083, 0xa000
        lgdtl gdtr
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmp $0x08, $(protected)
        .code32
protected:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $0x7c00, %esp
        pushfl
        pushl $0x08
        pushl $(returned)
        iretl
returned:
        movl %cr4, %eax
        orb $0x20, %al
        movl %eax, %cr4
        movl $0x8000, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx
        rdmsr
        orb $1, %ah
        wrmsr
        movl %cr0, %eax
        orl $0x80000000, %eax
        movl %eax, %cr0
        ljmp $0x18, $(long)
        .code64
long:   lock cmpxchg16b 0xb000
        movb $0x31, %al
        outb %al, $0xf4
stop:   hlt
        jmp stop
        .align 8
gdt:    .quad 0
        .quad 0x00cf9a000000ffff
        .quad 0x00cf92000000ffff
        .quad 0x00af9a000000ffff
gdtr:   .word gdtr - gdt - 1
        .long gdt
        .org 510
        .word 0xaa55
